using System.Diagnostics;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

public interface IWaitingCommand
{
    ValueTask WaitAsync();
}

/// <summary>Who ends the wait of user code may be user code himself, under a lock for example: what comes behind is not handled on his stack.</summary>
public sealed class EndedWaitTests : PipelineTest
{
    private const int Items = 2000;

    // After so many a pool knows that its items are short.
    private const int Short = 1900;

    // Set while the thread ends the wait, which runs what awaits it at once.
    [ThreadStatic]
    private static bool t_isEnding;

    // Found by what a child makes, which is in this process.
    private static EndedWaitTests? s_test;

    private readonly TaskCompletionSource _wait = new();
    private readonly Gate _isWaiting = new();
    private readonly Gate _hasEnded = new();
    private int _carried;

    [Theory]
    [InlineData(1, 0)]
    [InlineData(2, 0)]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    public async Task AnItemThatWaits_IsNotFollowedByOthers_WhereItsWaitEnds(int instances, int retries)
    {
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(
                async (x, _) =>
                {
                    if (x == Short)
                    {
                        await WaitAsync();
                        return x;
                    }

                    Note();

                    // The other one of two instances must leave to it what is ready.
                    if (x == Short + 1 && instances > 1)
                        _hasEnded.Block();

                    // A pool makes many ready that are short, and not very short.
                    long begin = Stopwatch.GetTimestamp();
                    while (Stopwatch.GetElapsedTime(begin).TotalMicroseconds < 5)
                    {
                    }

                    return x;
                },
                new() { Name = "stage", MaxDegreeOfParallelism = instances, ErrorPolicy = retries > 0 ? ErrorPolicy.Retry(retries) : ErrorPolicy.Fault })
            .ForEach(static _ => { }));

        PipelineReport report = await EndWaitAsync(run);

        Assert.Equal(Items, report.Stage("stage").Delivered);
        Assert.Equal(0, _carried);
    }

    [Fact]
    public async Task AnItemOfAnInput_IsNotFollowedByOthers_WhereItsWaitEnds()
    {
        int handled = 0;
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Into(
                () => new OneInput(async x =>
                {
                    handled++;
                    if (x == Short)
                        await WaitAsync();
                    else
                        Note();
                }),
                static r => r.Input,
                new() { Name = "stage" })
            .End());

        await EndWaitAsync(run);

        Assert.Equal((Items, 0), (handled, _carried));
    }

    [Fact]
    public async Task AnItemOfAChild_IsNotFollowedByOthers_WhereItsWaitEnds()
    {
        s_test = this;
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, 100))
            .Then(static () => new Waits(), new() { Name = "stage", Placement = Placement.Loopback })
            .ForEach(static _ => { }));

        PipelineReport report = await EndWaitAsync(run);

        Assert.Equal(100, report.Stage("stage").Delivered);
        Assert.Equal(0, _carried);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ACommandThatWaits_IsNotFollowedByItems_WhereItsWaitEnds(bool isLoopback)
    {
        s_test = this;
        PipelineRun<int> run = Start(Pipeline
            .Accept<int>()
            .Then(static () => new Commanded(), new() { Name = "stage", Placement = isLoopback ? Placement.Loopback : Placement.InProcess })
            .ForEach(static _ => { }));
        Task command = run.Control<IWaitingCommand>("stage").WaitAsync().AsTask();
        await _isWaiting.WaitAsync(TestToken);
        for (int i = 0; i < 100; i++)
            Assert.True(run.TrySend(i));
        run.Complete();

        PipelineReport report = await EndWaitAsync(run);

        await command.Within();
        Assert.Equal(100, report.Stage("stage").Delivered);
        Assert.Equal(0, _carried);
    }

    [Fact] // S34: a writer gets the slots of what is done, also while a command waits
    public async Task ACommandThatWaits_KeepsNoSlotFromWriters()
    {
        const int Capacity = 64;
        var gate = new Gate();
        PipelineRun<int> run = Start(Pipeline
            .Accept<int>()
            .Then(() => new Held(this, gate), new() { Name = "stage", BoundedCapacity = Capacity })
            .ForEach(static _ => { }));
        for (int i = 0; i < Capacity; i++)
            Assert.True(run.TrySend(i));
        await Waiting.UntilAsync(() => run.Snapshot().Stage("stage").InFlight == 1, "the first item in work");
        Task send = run.SendAsync(Capacity, TestToken).AsTask();
        Task command = run.Control<IWaitingCommand>("stage").WaitAsync().AsTask();
        Assert.False(send.IsCompleted);

        // One item is done then, and nobody has told that of so few slots.
        gate.Open();
        await _isWaiting.WaitAsync(TestToken);

        await send.Within();
        run.Complete();
        await EndWaitAsync(run);
        await command.Within();
    }

    [Fact] // Queued at once, it could be over before the waiter looks, who would then stay where he is.
    public async Task AYield_HasNotEnded_BeforeItIsAwaited()
    {
        var wakeup = new Wakeup();
        ValueTask yielding = wakeup.YieldAsync(stream: null);

        await Waiting.LetOthersRunAsync();

        Assert.False(yielding.IsCompleted);
        await yielding;
    }

    private async Task WaitAsync()
    {
        _isWaiting.Open();
        await _wait.Task;
    }

    private void Note()
    {
        if (t_isEnding)
            Interlocked.Increment(ref _carried);
    }

    private async Task<PipelineReport> EndWaitAsync(PipelineRun run)
    {
        await _isWaiting.WaitAsync(TestToken);

        // By then the stage waits as well, most likely.
        await Waiting.LetOthersRunAsync();
        await PumpThread.RunAsync(
            () =>
            {
                t_isEnding = true;
                _wait.SetResult();
                t_isEnding = false;
                _hasEnded.Open();
            },
            "ends the wait").Within();
        return await run.Completion.Within();
    }

    /// <summary>Waits with the first item.</summary>
    public sealed class Waits : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (item == 1)
                await s_test!.WaitAsync();
            else
                s_test!.Note();
            await EmitAsync(item, cancellationToken);
        }
    }

    /// <summary>Holds its first item until it is told.</summary>
    private sealed class Held(EndedWaitTests test, Gate gate) : Runnable<int, int>, IWaitingCommand
    {
        public ValueTask WaitAsync() => new(test.WaitAsync());

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (item == 0)
                await gate.WaitAsync(cancellationToken);
            await EmitAsync(item, cancellationToken);
        }
    }

    private sealed class OneInput : PortRunnable
    {
        public OneInput(Func<int, Task> handle) => Input = new Input<int>((x, _) => new ValueTask(handle(x)));

        public Input<int> Input { get; }
    }

    public sealed class Commanded : Runnable<int, int>, IWaitingCommand
    {
        public ValueTask WaitAsync() => new(s_test!.WaitAsync());

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            s_test!.Note();
            return EmitAsync(item, cancellationToken);
        }
    }
}
