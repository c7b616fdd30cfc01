using System.Collections.Concurrent;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// An emit that waited for a slot let others in at each turn of its wait, and then wrote beside them: values were lost or overwritten, and
/// a slot of a lost value never came back. In a pool, the emits of OnStartAsync went on beside the stage's stream, and one that came when
/// its item was settled was kept for whatever item came next, or for none. And an emit beside the stream shared its signal, so that one
/// of the two could take the other's, which then waited for ever.
/// </summary>
public sealed class ConcurrentEmitTests : PipelineTest
{
    private const int Items = 100_000;
    private const int MostBeside = 200_000;

    /// <summary>Emits beside its handler all the time; each emit is accepted or refused.</summary>
    private sealed class Beside(Box<long> accepted) : Runnable<int, int>
    {
        private volatile bool _isOver;
        private Task _beside = Task.CompletedTask;

        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            _beside = Task.Run(EmitBesideAsync, cancellationToken);
            return default;
        }

        private async Task EmitBesideAsync()
        {
            while (!_isOver && accepted.Value < MostBeside)
            {
                try
                {
                    await EmitAsync(-1);
                    accepted.Value++;
                }
                catch (InvalidOperationException)
                {
                    // Another emit is on its way.
                }
            }
        }

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            while (true)
            {
                try
                {
                    await EmitAsync(item, cancellationToken);
                    return;
                }
                catch (InvalidOperationException)
                {
                    // Another emit is on its way.
                }
            }
        }

        protected override async ValueTask OnCompletedAsync(CancellationToken cancellationToken)
        {
            _isOver = true;
            await _beside;
        }
    }

    [Fact] // S30, S31
    public async Task Serial_EmitsBesideTheHandlerThatWaitsForASlot_NothingIsLost()
    {
        var accepted = new Box<long>();
        long beside = 0, items = 0;
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(0, Items))
            .Then(() => new Beside(accepted))
            .ForEach(
                x =>
                {
                    if (x < 0)
                        beside++;
                    else
                        Assert.Equal(items++, x);
                },
                new() { BoundedCapacity = 4 }));

        await run.Completion.Within();

        Assert.Equal((Items, accepted.Value), (items, beside));
    }

    /// <summary>Emits once more when it is told.</summary>
    private sealed class Late(Gate go, ConcurrentQueue<Task> emits, bool isAtStart) : Runnable<int, int>
    {
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            if (isAtStart)
                emits.Enqueue(EmitLaterAsync());
            return default;
        }

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (!isAtStart && item == 1)
                emits.Enqueue(EmitLaterAsync());
            return EmitAsync(item, cancellationToken);
        }

        private async Task EmitLaterAsync()
        {
            await go.WaitAsync();
            await EmitAsync(-1);
        }
    }

    [Fact] // S16
    public async Task Wakeups_EachWaiterHasItsOwnSignal()
    {
        var wakeups = new Wakeups();
        Wakeup emit = wakeups.Add();

        // A signal that came before the wait is kept for each of them.
        wakeups.Set();
        await emit.WaitAsync().Within();
        Task stream = wakeups.Stream.WaitAsync().AsTask(), waiting = emit.WaitAsync().AsTask();
        Assert.True(stream.IsCompleted);
        Assert.False(waiting.IsCompleted);

        stream = wakeups.Stream.WaitAsync().AsTask();
        wakeups.Set();
        await Task.WhenAll(stream, waiting).Within();

        wakeups.Remove(emit);
        wakeups.Set();
        await wakeups.Stream.WaitAsync().Within();
        Assert.False(emit.WaitAsync().AsTask().IsCompleted);
    }

    /// <summary>Emits two values; its first tick leaves an emit of its own behind.</summary>
    private sealed class LeavesAnEmit(Gate ticked) : SourceRunnable<int>
    {
        public Task Left { get; private set; } = Task.CompletedTask;

        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            await EmitAsync(1, stopToken);
            await EmitAsync(2, stopToken);
        }

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
        {
            if (!ticked.IsOpen)
                Left = EmitAsync(-1, cancellationToken).AsTask();
            ticked.Open();
            return default;
        }
    }

    [Fact] // S30, S31
    public async Task Source_ATickThatLeavesAnEmitBehind_WhileTheNextLinkIsFull_HoldsUpTheBodyAndLosesNothing()
    {
        Gate ticked = new(), consume = new();
        var seen = new List<int>();
        LeavesAnEmit source = null!;
        PipelineRun run = Start(Pipeline
            .From(() => source = new LeavesAnEmit(ticked), new() { Name = "source", TickInterval = TimeSpan.FromSeconds(1) })
            .ForEach(
                async (x, token) =>
                {
                    await consume.WaitAsync(token);
                    seen.Add(x);
                },
                new() { BoundedCapacity = 1 }), FakeTimeOptions with { StallTimeout = Timeout.InfiniteTimeSpan });
        await Waiting.UntilAsync(() => run.Snapshot().Stage("source").Activity == StageActivity.WaitingForOutput, "the body waits for a slot");

        Time.Advance(TimeSpan.FromSeconds(1));
        await ticked.WaitAsync(TestToken);
        await Waiting.LetOthersRunAsync();
        Assert.False(source.Left.IsCompleted);
        consume.Open();

        await run.Completion.Within();
        await source.Left.Within();
        Assert.Equal([1, -1, 2], seen);
    }

    [Theory] // S30, S31
    [InlineData(true)]
    [InlineData(false)]
    public async Task Pool_EmitOutsideOfACallback_IsRefused(bool isAtStart)
    {
        var go = new Gate();
        ConcurrentQueue<Task> emits = [];
        List<int> outputs = [];
        PipelineRun<int> run = Start(Pipeline
            .Accept<int>()
            .Then(() => new Late(go, emits, isAtStart), new() { Name = "pool", MaxDegreeOfParallelism = 2 })
            .ForEach(outputs.Add, new() { Name = "sink" }));
        await run.Started.Within();
        if (!isAtStart)
            await run.SendAsync(1);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink").Delivered == (isAtStart ? 0 : 1), "the output arrives");
        await Waiting.UntilAsync(() => run.Snapshot().Stage("pool").InFlight == 0, "the item is settled");

        go.Open();

        // All of them: one that came as late as the next item of its instance would pass for an output of that.
        Assert.Equal(isAtStart ? 2 : 1, emits.Count);
        foreach (Task emit in emits)
            await Assert.ThrowsAsync<InvalidOperationException>(() => emit.Within());
        await run.SendAsync(2);
        run.Complete();
        await run.Completion.Within();

        Assert.Equal(isAtStart ? [2] : [1, 2], outputs);
    }

    [Theory] // S34: the same with both kinds of links.
    [InlineData(LinkKind.Burst)]
    [InlineData(LinkKind.BufferBlock)]
    public async Task Link_TheLargestCapacity_IsOneThatItCanHave(LinkKind links)
    {
        int received = 0;
        PipelineRun run = Start(
            Pipeline.From(Enumerable.Range(0, 10)).ForEach(_ => { received++; }, new() { BoundedCapacity = int.MaxValue }),
            Options with { Links = links });

        await run.Completion.Within();

        Assert.Equal(10, received);
    }

    private sealed class Box<T>
    {
        public T Value { get; set; } = default!;
    }
}
