using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>What the stream of a pool missed: an output while its handler went on, signals while it waited elsewhere, and items that never started.</summary>
public sealed class PoolStreamTests : LifecycleTest
{
    [Theory] // S30: an output has left when the next link has accepted it, whatever its handler does then
    [InlineData(true)]
    [InlineData(false)]
    public async Task Output_WhoseHandlerWaitsForWhatComesOfIt_LeavesAtOnce(bool isOrdered)
    {
        var arrived = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(() => new EmitsAndWaits(arrived), new() { MaxDegreeOfParallelism = 2, EnsureOrdered = isOrdered })
            .ForEach(_ => arrived.Open()));
        await run.SendAsync(1, TestToken);
        await arrived.WaitAsync();
        run.Complete();

        Assert.Equal(RunState.Completed, (await run.Completion.Within()).State);
    }

    [Fact] // S33, S16: nothing hangs, however full the links were
    public async Task ItemThatEndsWhileADeadLetterWaitsForItsSlot_IsSettled()
    {
        const int Letters = StageOptions.DefaultCapacity + 1;
        var first = new Gate();
        Gate firstLetter = new(), letters = new();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(
            async x =>
            {
                if (x > 0)
                    throw new FormatException();
                await first.WaitAsync();
            },
            new()
            {
                Name = "work",
                MaxDegreeOfParallelism = 2,
                EnsureOrdered = false,
                ErrorPolicy = ErrorPolicy.DeadLetter(async (DeadLetter<int> letter, CancellationToken ct) => await (letter.Item == 1 ? firstLetter : letters).WaitAsync(ct)),
            }));
        for (int i = 0; i <= Letters; i++)
            await run.SendAsync(i, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work") is { DeadLettered: Letters - 1, Activity: StageActivity.WaitingForOutput }, "the last letter waits");
        bool wasWoken = false, waitsAgain = false;
        StageNode work = run.Graph.Nodes.Single(static n => n.Name == "work");
        run.Graph.OnActivity = () =>
        {
            wasWoken |= work.Activity == StageActivity.Working;
            waitsAgain |= wasWoken && work.Activity == StageActivity.WaitingForOutput;
        };
        first.Open();
        await Waiting.UntilAsync(() => Volatile.Read(ref waitsAgain), "the end of the first item was signaled to the wait for the letter");
        firstLetter.Open();
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work").Delivered == 1, "the first item is settled");
        letters.Open();
        run.Complete();

        AssertCounts(await run.Completion.Within(), "work", accepted: Letters + 1, delivered: 1, deadLettered: Letters);
    }

    [Fact] // S27, S30
    public async Task ItemsThatWaitForAnInstanceThatNeverReturns_AreDiscardedAndCounted()
    {
        ExpectFailure();
        Expect(12);
        var started = new Gate();
        var never = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().PartitionBy(static _ => 0).To(() => new Waits(started, never), new() { Name = "work", MaxDegreeOfParallelism = 2 }),
            FakeTimeOptions);
        for (int i = 0; i < 4; i++)
            await run.SendAsync(i, TestToken);
        await started.WaitAsync();
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work").Queued == 0, "all items wait for the instance of their key");
        run.Cancel();
        await Waiting.UntilAsync(() => Discarded.Count == 3, "what has not started is given up");
        await UntilOnlyAsync(run, "work");
        Time.Advance(TimeSpan.FromSeconds(5));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());

        PipelineReport report = await run.Report;
        Assert.Equal(["work"], report.Abandoned);
        AssertCounts(report, "work", accepted: 4, discarded: 3, abandoned: 1);
        never.Open();
    }

    [Fact] // S8
    public async Task OldestItemAge_IsThatOfTheOldestItem_NotOfTheLastBurst()
    {
        var first = new Gate();
        var second = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().ForEach(async x => await (x == 1 ? first : second).WaitAsync(), new() { Name = "work", MaxDegreeOfParallelism = 2, EnsureOrdered = false }),
            FakeTimeOptions);
        await run.SendAsync(1, TestToken);
        await UntilInFlightAsync(1);
        Time.Advance(TimeSpan.FromSeconds(10));
        await run.SendAsync(2, TestToken);
        await UntilInFlightAsync(2);

        Assert.Equal(TimeSpan.FromSeconds(10), run.Snapshot().Stage("work").OldestItemAge);
        first.Open();
        await UntilInFlightAsync(1);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work").OldestItemAge == TimeSpan.Zero, "the oldest item is the second one");
        second.Open();
        await UntilInFlightAsync(0);
        Time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(TimeSpan.Zero, run.Snapshot().Stage("work").OldestItemAge);
        run.Complete();
        await run.Completion.Within();

        Task UntilInFlightAsync(int count) => Waiting.UntilAsync(() => run.Snapshot().Stage("work") is { Queued: 0 } s && s.InFlight == count, $"{count} items are in work");
    }

    [Fact] // S8
    public async Task OldestItemAge_OfAnItemThatEmitsMore_CountsOn()
    {
        Gate[] gates = [new(), new(), new()];
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>()
                .TransformMany(static _ => Enumerable.Range(0, 3), new() { Name = "work" })
                .ForEach(async x => await gates[x].WaitAsync(), new() { Name = "sink", BoundedCapacity = 1 }),
            FakeTimeOptions);
        await run.SendAsync(1, TestToken);
        await UntilEmittedAsync(1);
        Time.Advance(TimeSpan.FromSeconds(10));
        gates[0].Open();
        await UntilEmittedAsync(2);

        Assert.Equal(TimeSpan.FromSeconds(10), run.Snapshot().Stage("work").OldestItemAge);
        gates[1].Open();
        gates[2].Open();
        run.Complete();
        await run.Completion.Within();

        Task UntilEmittedAsync(int count) => Waiting.UntilAsync(() => run.Snapshot().Stage("work") is { Activity: StageActivity.WaitingForOutput } s && s.Emitted == count, $"it has emitted {count}");
    }

    private sealed class EmitsAndWaits(Gate gate) : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await EmitAsync(item, cancellationToken);
            await gate.WaitAsync(cancellationToken);
        }
    }

    private sealed class Waits(Gate started, Gate gate) : SinkRunnable<int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            started.Open();
            await gate.WaitAsync(CancellationToken.None);
        }
    }
}
