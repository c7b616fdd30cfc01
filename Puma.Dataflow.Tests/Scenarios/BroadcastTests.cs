using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>A broadcast whose one branch is stuck or fails (stuck: its handler waits for a gate; fails: at its second item).</summary>
public sealed class BroadcastTests : LifecycleTest
{
    [Fact] // S47, Puma 68
    public async Task StuckBranch_PacesTheOther_AndNothingIsLost()
    {
        var gate = new Gate();
        List<int> slow = [], quick = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 50), new() { Name = "source" })
            .Broadcast(
                new StageOptions { Name = "fan", BoundedCapacity = 2 },
                b => b.ForEach(
                    async x =>
                    {
                        await gate.WaitAsync();
                        slow.Add(x);
                    },
                    new() { Name = "slow", BoundedCapacity = 3 }),
                b => b.ForEach(quick.Add, new() { Name = "quick" })));
        await Waiting.UntilAsync(() => run.Snapshot() is var now && now.Stage("fan").SlotsHeld == 2 && now.Stage("quick").Delivered == 4, "the stuck branch holds back the other");
        Assert.Equal(StageActivity.WaitingForOutput, run.Snapshot().Stage("fan").Activity);
        Assert.Equal("slow", run.Snapshot().Stage("fan").WaitsFor);
        gate.Open();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 50), slow);
        Assert.Equal(Enumerable.Range(1, 50), quick);
        AssertCounts(report, "fan", accepted: 50, delivered: 50);
        Assert.Equal(100, report.Stage("fan").Emitted);
    }

    [Theory] // S47, Puma 63
    [InlineData(FullMode.DropNewest)]
    [InlineData(FullMode.DropOldest)]
    public async Task StuckBranchThatDrops_KeepsItsEnd_AndTheOtherGetsEverything(FullMode mode)
    {
        ExpectFailure();
        var gate = new Gate();
        var started = new Gate();
        List<int> slow = [], quick = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Broadcast(
                new StageOptions { Name = "fan" },
                b => b.WhenFull(mode, 3).ForEach(
                    async x =>
                    {
                        started.Open();
                        await gate.WaitAsync();
                        slow.Add(x);
                    },
                    new() { Name = "slow" }),
                b => b.ForEach(quick.Add, new() { Name = "quick" })));
        await run.SendAsync(1, TestToken);
        await started.WaitAsync();
        for (int i = 2; i <= 50; i++)
            await run.SendAsync(i, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("quick").Delivered == 50, "the quick branch has everything");
        run.Complete();
        gate.Open();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 50), quick);
        LinkReport link = report.Links.Single(static l => l.To == "slow");
        Assert.Equal((50, 3, 47, 47), (link.Sent, link.Received, link.Discarded, link.Dropped));
        Assert.Equal(47, Discarded.Count(static d => d is { Stage: "slow", Reason: DiscardReason.Dropped }));
        AssertCounts(report, "fan", accepted: 50, delivered: 50);
        if (mode == FullMode.DropNewest)
        {
            Assert.Equal([1, 2, 3], slow);
            AssertCounts(report, "slow", accepted: 3, delivered: 3);
        }
        else
        {
            Assert.Equal([1, 49, 50], slow);
            AssertCounts(report, "slow", accepted: 50, delivered: 3, discarded: 47);
        }
    }

    [Theory] // S47, S19, Puma 64
    [InlineData(false)]
    [InlineData(true)]
    public async Task StuckBranchThatFailsWhenFull_FaultsTheRun_OrOnlyItself(bool isOptional)
    {
        ExpectFailure();
        if (isOptional)
            Expect(13);
        var started = new Gate();
        List<int> quick = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Broadcast(
                new StageOptions { Name = "fan" },
                b => Branch(b, isOptional).WhenFull(FullMode.Fail, 2).ForEach(
                    async (_, ct) =>
                    {
                        started.Open();
                        await new Gate().WaitAsync(ct);
                    },
                    new() { Name = "slow" }),
                b => b.ForEach(quick.Add, new() { Name = "quick" })));
        await run.SendAsync(1, TestToken);
        await started.WaitAsync();
        await run.SendAsync(2, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("quick").Delivered == 2, "both have two");
        await run.SendAsync(3, TestToken);
        if (!isOptional)
        {
            await UntilFaultingAsync(run);

            // The stuck branch is downstream of the failure and would drain for ever.
            run.Cancel();
            StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
            Assert.Equal("fan", fault.Stage);
            var full = Assert.IsType<PipelineFullException>(fault.InnerException);
            Assert.Equal(("slow", 2), (full.Stage, full.Capacity));
            AssertCounts(await run.Report, "slow", accepted: 2, discarded: 2);
            return;
        }

        await run.SendAsync(4, TestToken);
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal([1, 2, 3, 4], quick);
        Assert.Equal(RunState.Completed, report.State);
        AssertCounts(report, "fan", accepted: 4, delivered: 4);
        AssertCounts(report, "slow", accepted: 2, discarded: 2);
        Assert.IsType<PipelineFullException>(Assert.Single(report.SecondaryErrors).InnerException);
    }

    [Theory] // S19
    [InlineData(FullMode.Wait)]
    [InlineData(FullMode.DropNewest)]
    [InlineData(FullMode.DropOldest)]
    [InlineData(FullMode.Fail)]
    public async Task OptionalBranchThatFaults_DetachesAlone_CountedAndLogged(FullMode mode)
    {
        ExpectFailure();
        Expect(13);
        List<int> audited = [], seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Broadcast(
                new StageOptions { Name = "fan" },
                b => b.Named("audit").Optional().WhenFull(mode).Transform(static x => x == 3 ? throw new FormatException("audit") : x, new() { Name = "check" }).ForEach(audited.Add, new() { Name = "audited" }),
                b => b.ForEach(seen.Add, new() { Name = "main" })));
        for (int i = 1; i <= 3; i++)
            await run.SendAsync(i, TestToken);
        await Waiting.UntilAsync(() => run.Stage("check").State == StageState.Faulted, "the branch has failed");
        Assert.Equal(RunState.Running, run.State);
        for (int i = 4; i <= 50; i++)
            await run.SendAsync(i, TestToken);
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal(Enumerable.Range(1, 50), seen);
        Assert.Equal([1, 2], audited);
        AssertCounts(report, "check", accepted: 3, delivered: 2, failed: 1);
        AssertCounts(report, "audited", accepted: 2, delivered: 2);
        AssertCounts(report, "fan", accepted: 50, delivered: 50);
        var error = Assert.IsType<StageFaultedException>(Assert.Single(report.SecondaryErrors));
        Assert.Equal(("check", 3), (error.Stage, error.ItemNumber));
        Assert.Single(Log.Records, static r => r.EventId.Id == 13);
        Assert.Contains(Log.Records, static r => r.EventId.Id == 13 && r.Message.Contains("'audit'", StringComparison.Ordinal));
    }

    [Fact] // S19: also while another stage of the branch still works and does not look at its token
    public async Task OptionalBranchThatFaults_HoldsNobodyBack_AlthoughItsHandlerHasNotReturned()
    {
        ExpectFailure();
        Expect(13);
        var busy = new Gate();
        var release = new Gate();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Broadcast(
                b => b.Optional().Transform(
                    async x =>
                    {
                        if (x == 2)
                        {
                            busy.Open();
                            await release.WaitAsync();
                        }

                        return x;
                    },
                    new() { Name = "stuck", BoundedCapacity = 1 })
                    .ForEach(
                        async _ =>
                        {
                            await busy.WaitAsync();
                            throw new FormatException();
                        },
                        new() { Name = "bad" }),
                b => b.ForEach(seen.Add, new() { Name = "main" })));
        for (int i = 1; i <= 20; i++)
            await run.SendAsync(i, TestToken).AsTask().Within();
        await Waiting.UntilAsync(() => run.Snapshot().Stage("main").Delivered == 20, "the other branch goes on");
        run.Complete();
        await run.Stage("main").Completion.Within();
        Assert.False(run.Completion.IsCompleted);
        release.Open();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal(Enumerable.Range(1, 20), seen);
        AssertCounts(report, "bad", accepted: 1, failed: 1);
        Assert.Equal(StageState.Canceled, report.Stage("stuck").State);
    }

    [Fact] // S13, S19: when no branch is left, nobody wants anything
    public async Task AllBranchesOptionalAndFailed_EndsForLackOfDemand()
    {
        ExpectFailure();
        Expect(13);
        PipelineRun run = Start(Pipeline.From(FaultTests.Naturals(), new() { Name = "source" })
            .Broadcast(
                new StageOptions { Name = "fan" },
                b => b.Optional().ForEach(static x => { if (x == 5) throw new FormatException(); }, new() { Name = "a" }),
                b => b.Optional().ForEach(static x => { if (x == 7) throw new FormatException(); }, new() { Name = "b" })));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("fan").State, report.Stage("fan").EndReason));
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("source").State, report.Stage("source").EndReason));
        Assert.Equal(2, report.SecondaryErrors.Count);
    }

    private static BranchBuilder<T> Branch<T>(BranchBuilder<T> branch, bool isOptional) => isOptional ? branch.Optional() : branch;
}
