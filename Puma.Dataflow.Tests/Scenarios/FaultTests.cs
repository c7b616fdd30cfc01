using System.Runtime.CompilerServices;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>How a run ends when one or several of its stages fail, in shapes other than a line.</summary>
public sealed class FaultTests : LifecycleTest
{
    [Fact] // S2, S9, S16
    public async Task FaultAfterComplete_DrainsDownstream_AndTheRunIsFaulted()
    {
        ExpectFailure();
        var gate = new Gate();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Transform(async x =>
            {
                await gate.WaitAsync();
                return x == 3 ? throw new FormatException() : x;
            }, new() { Name = "work" })
            .ForEach(seen.Add, new() { Name = "sink" }));
        for (int i = 1; i <= 5; i++)
            await run.SendAsync(i, TestToken);
        run.Complete();
        Assert.Equal(RunState.Draining, run.State);
        gate.Open();

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("work", 3), (fault.Stage, fault.ItemNumber));
        Assert.Equal([1, 2], seen);
        PipelineReport report = await run.Report;
        AssertCounts(report, "work", accepted: 5, delivered: 2, failed: 1, discarded: 2);
        AssertCounts(report, "sink", accepted: 2, delivered: 2);
        await Assert.ThrowsAsync<PipelineClosedException>(() => run.SendAsync(6, TestToken).AsTask());
    }

    [Fact] // S16, S17, S10
    public async Task DiamondWhoseOneSideFails_WhileTheOtherWaitsOnTheFullLinkIntoTheJoin_Ends()
    {
        ExpectFailure();
        Expect(32);
        var fail = new Gate();
        List<(int, int)> seen = [];
        PipelineBuilder<NoInput, int> source = Pipeline.From(Naturals(), new() { Name = "source" });
        PipelineRun run = Start(DiamondRunnable.Join(source, left: x => x == 3 ? FailAt(fail) : new(x), right: static x => new(x), seen));
        await Waiting.UntilAsync(
            () => run.Snapshot() is var now && now.Stage("left").Accepted == 7 && now.Stage("right") is { Accepted: 6, SlotsHeld: 2 } && now.Stage("split").SlotsHeld == 2,
            "the right side and the split wait");
        Assert.False(run.Completion.IsCompleted);
        fail.Open();

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("left", 3), (fault.Stage, fault.ItemNumber));
        Assert.Equal([(1, 1), (2, 2)], seen);
        PipelineReport report = await run.Report;
        AssertCounts(report, "pairs", accepted: 2, delivered: 2);
        AssertCounts(report, "left", accepted: 7, delivered: 2, failed: 1, discarded: 4);
        AssertCounts(report, "right", accepted: 6, delivered: 6);
        AssertCounts(report, "join", accepted: 2 + 6, delivered: 2 + 2, discarded: 4);
        Assert.Equal([3, 4, 5, 6], Discarded.Where(static d => d is { Stage: "join", Reason: DiscardReason.NoPartner }).Select(static d => (int)d.Item!));
        Assert.Equal(StageState.Canceled, report.Stage("source").State);
    }

    [Fact] // S16: sources that do not lead to the failure stop too
    public async Task MergeWithAnEndlessIndependentSource_EndsWhenTheOtherSideFails()
    {
        ExpectFailure();
        var fail = new Gate();
        long seen = 0;
        PipelineRun run = Start(
            Pipeline.From([1, 2, 3], new() { Name = "short" })
                .Transform(x => x == 3 ? FailAt(fail) : new(x), new() { Name = "work" })
                .Merge(Pipeline.From(Naturals(), new() { Name = "endless" }))
                .ForEach(_ => Interlocked.Increment(ref seen), new() { Name = "sink" }));
        await Waiting.UntilAsync(() => Interlocked.Read(ref seen) > 500, "the endless source flows");
        fail.Open();

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("work", fault.Stage);
        PipelineReport report = await run.Report;
        AssertCounts(report, "work", accepted: 3, delivered: 2, failed: 1);
        Assert.Equal(report.Stage("endless").Emitted + 2, report.Stage("sink").Delivered);
        Assert.Equal(report.Stage("sink").Delivered, Interlocked.Read(ref seen));
        Assert.Equal((StageState.Completed, EndReason.InputEnded), (report.Stage("endless").State, report.Stage("endless").EndReason));
    }

    [Fact] // S17: the exit is never read, so the drain cannot go on
    public async Task FaultWhileTheExitIsNeverRead_AbortsAfterTheDrainTimeout()
    {
        ExpectFailure();
        Expect(31);
        Expect(30);
        var fail = new Gate();
        (PipelineRun run, _) = StartWithExit(
            Pipeline.From(Naturals(), new() { Name = "source" })
                .Transform(x => x == 131 ? FailAt(fail) : new(x), new() { Name = "work", BoundedCapacity = 2 })
                .Transform(static x => x, new() { Name = "behind", BoundedCapacity = 2 }),
            FakeTimeOptions with { DrainTimeout = TimeSpan.FromSeconds(20), StallTimeout = TimeSpan.FromMinutes(10) });
        await UntilFullAsync(run);
        fail.Open();
        await UntilFaultingAsync(run);

        await Waiting.UntilAsync(() => run.Stage("source").Completion.IsCompleted && run.Stage("work").Completion.IsCompleted, "what is upstream has ended");

        // The look that starts the time, then one look short of it.
        Time.Advance(TimeSpan.FromSeconds(5));
        Time.Advance(TimeSpan.FromSeconds(15));
        Assert.False(run.Completion.IsCompleted);
        Assert.DoesNotContain(Log.Records, static r => r.EventId.Id == 31);
        Time.Advance(TimeSpan.FromSeconds(5));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("work", 131), (fault.Stage, fault.ItemNumber));
        PipelineReport report = await run.Report;
        AssertCounts(report, "work", accepted: 132, delivered: 130, failed: 1, discarded: 1);
        AssertCounts(report, "behind", accepted: 130, delivered: 128, discarded: 2);
        AssertCounts(report, "exit", accepted: 128, discarded: 128);
        Assert.Empty(report.Abandoned);
    }

    [Fact] // S16, S2, S4
    public async Task SecondFaultWhileDraining_KeepsTheFirstCause_AndDiscardsFromItsOwnStage()
    {
        ExpectFailure();
        var flow = new Gate();
        var fail = new Gate();
        PipelineRun run = Start(
            Pipeline.From(Naturals(), new() { Name = "source" })
                .Transform(x => x == 5 ? FailAt(fail) : new(x), new() { Name = "first", BoundedCapacity = 2 })
                .Transform(static x => x, new() { Name = "between", BoundedCapacity = 2 })
                .ForEach(
                    async x =>
                    {
                        await flow.WaitAsync();
                        throw new InvalidOperationException($"second {x}");
                    },
                    new() { Name = "last", BoundedCapacity = 2 }));
        await UntilFullAsync(run);
        fail.Open();
        await UntilFaultingAsync(run);
        flow.Open();

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("first", 5), (fault.Stage, fault.ItemNumber));
        PipelineReport report = await run.Report;
        var second = Assert.IsType<StageFaultedException>(Assert.Single(report.SecondaryErrors));
        Assert.Equal(("last", 1, "second 1"), (second.Stage, second.ItemNumber, second.InnerException!.Message));
        AssertCounts(report, "first", accepted: 6, delivered: 4, failed: 1, discarded: 1);
        AssertCounts(report, "between", accepted: 4, delivered: 2, discarded: 2);
        AssertCounts(report, "last", accepted: 2, failed: 1, discarded: 1);
    }

    [Theory] // S23, S50
    [InlineData(false)]
    [InlineData(true)]
    public async Task CancelOrDispose_WhileAFaultDrains_EndsTheRun_AsFaulted(bool disposes)
    {
        ExpectFailure();
        var hold = new Gate();
        var fail = new Gate();
        PipelineRun run = Start(
            Pipeline.From(Naturals(), new() { Name = "source" })
                .Transform(x => x == 3 ? FailAt(fail) : new(x), new() { Name = "work", BoundedCapacity = 2 })
                .ForEach(async (_, ct) => await hold.WaitAsync(ct), new() { Name = "sink", BoundedCapacity = 2 }));
        await UntilFullAsync(run);
        fail.Open();
        await UntilFaultingAsync(run);

        if (disposes)
            await run.DisposeAsync().Within();
        else
            run.Cancel();

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
        Assert.Equal("work", fault.Stage);
        PipelineReport report = await run.Report;
        Assert.Equal(RunState.Faulted, report.State);
        Assert.Empty(report.SecondaryErrors);
        AssertCounts(report, "work", accepted: 4, delivered: 2, failed: 1, discarded: 1);
        AssertCounts(report, "sink", accepted: 2, discarded: 2);
    }

    [Fact] // S2, S3, S17: side branches drain
    public async Task FaultInOneBranch_LetsTheOtherFinishWhatReachedIt()
    {
        ExpectFailure();
        var fail = new Gate();
        var flow = new Gate();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Naturals(), new() { Name = "source" })
            .Broadcast(
                new StageOptions { Name = "fan", BoundedCapacity = 2 },
                b => b.ForEach(async x => await (x == 2 ? FailAt(fail) : new(x)), new() { Name = "bad", BoundedCapacity = 2 }),
                b => b.ForEach(
                    async x =>
                    {
                        await flow.WaitAsync();
                        seen.Add(x);
                    },
                    new() { Name = "good", BoundedCapacity = 8 })));
        await Waiting.UntilAsync(() => run.Snapshot() is var now && now.Stage("bad").SlotsHeld == 2 && now.Stage("fan").SlotsHeld == 2 && now.Stage("good").Accepted == 4, "the bad branch is full");
        fail.Open();
        await UntilFaultingAsync(run);
        flow.Open();

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("bad", fault.Stage);
        Assert.Equal([1, 2, 3, 4], seen);
        PipelineReport report = await run.Report;
        AssertCounts(report, "bad", accepted: 3, delivered: 1, failed: 1, discarded: 1);
        AssertCounts(report, "good", accepted: 4, delivered: 4);
        AssertCounts(report, "fan", accepted: 5, delivered: 3, discarded: 2);
        Assert.Equal(StageState.Canceled, report.Stage("fan").State);
        Assert.Equal(StageState.Canceled, report.Stage("good").State);
    }

    [Fact] // S16, S5: never by way of a lack of demand
    public async Task StagesUpstreamOfAFailure_AllEndCanceled()
    {
        ExpectFailure();
        PipelineBuilder<NoInput, int>[] others = [.. Enumerable.Range(0, 200).Select(static i => Pipeline.From(SilentAsync(), new() { Name = $"silent {i}" }).Transform(static x => x, new() { Name = $"work {i}" }))];
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { Name = "entry" })
            .Merge(others)
            .ForEach(static _ => throw new FormatException(), new() { Name = "last" }));
        await run.Started.Within();
        await run.SendAsync(1, TestToken);

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        PipelineReport report = await run.Report;
        Assert.All(report.Stages.Where(static s => s.Name != "last"), static s => Assert.Equal((s.Name, StageState.Canceled, EndReason.Canceled), (s.Name, s.State, s.EndReason)));

        static async IAsyncEnumerable<int> SilentAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            await new Gate().WaitAsync(cancellationToken);
            yield break;
        }
    }

    private static async ValueTask<int> FailAt(Gate gate)
    {
        await gate.WaitAsync();
        throw new FormatException("gate");
    }

    internal static async IAsyncEnumerable<int> Naturals()
    {
        for (int i = 1; ; i++)
        {
            // The source runs through a burst at a time, so that others get the thread as well.
            if (i % 1024 == 0)
                await Task.Yield();
            yield return i;
        }
    }
}
