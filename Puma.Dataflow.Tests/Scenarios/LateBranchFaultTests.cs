using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Branches that were attached to a broadcast and fail, or have no slot.</summary>
public sealed class LateBranchFaultTests : AttachTest
{
    [Fact] // S16, S17
    public async Task LateBranchThatFaults_FaultsTheRun()
    {
        ExpectFailure();
        PipelineRun<int> run = StartWithMain();
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(static x => { if (x == 3) throw new FormatException("late"); }, new() { Name = "late" })).Within();
        await SendAsync(run, 1, 3);

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("late", 3), (fault.Stage, fault.ItemNumber));
        Assert.Same(fault, await Assert.ThrowsAsync<StageFaultedException>(() => lease.Completion.Within()));
        await lease.DetachAsync().Within();
        Assert.Equal(StageState.Canceled, (await run.Report).Stage("fan").State);
        var closed = await Assert.ThrowsAsync<BroadcastClosedException>(() => run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(static _ => { })).Within());
        Assert.Equal(("fan", RunState.Faulted, EndReason.Canceled), (closed.Stage, closed.State, closed.EndReason));
        Assert.Same(fault, closed.InnerException);
    }

    [Theory] // S19
    [InlineData(FullMode.Wait)]
    [InlineData(FullMode.DropNewest)]
    [InlineData(FullMode.DropOldest)]
    [InlineData(FullMode.Fail)]
    public async Task OptionalLateBranchThatFaults_IsLostAlone(FullMode mode)
    {
        ExpectFailure();
        Expect(13);
        PipelineRun<int> run = StartWithMain();
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.Named("audit").Optional().WhenFull(mode)
            .Transform(static x => x == 3 ? throw new FormatException("late") : x, new() { Name = "check" })
            .ForEach(Late.Add, new() { Name = "late" })).Within();
        await SendAsync(run, 1, 3);
        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => lease.Completion.Within());
        await SendAsync(run, 4, 6);
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 6), Main);
        Assert.Equal([1, 2], Late);
        Assert.Same(fault, Assert.Single(report.SecondaryErrors));
        Assert.Equal("audit", lease.Name);
        Assert.Equal(StageState.Faulted, run.Stage("check").State);
        AssertCounts(report, "check", accepted: 3, delivered: 2, failed: 1);
    }

    [Fact] // S19: what is attached inside of an optional branch is lost with it, and only with it
    public async Task LateBranchThatFaults_InsideOfAnOptionalBranch_LosesThatBranchAlone()
    {
        ExpectFailure();
        Expect(13);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(
            b => b.ForEach(Main.Add, new() { Name = "main" }),
            b => b.Named("audit").Optional().Broadcast(new() { Name = "fan" }, c => c.ForEach(static _ => { }, new() { Name = "other" }))));
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.Merge(Pipeline.From(FaultTests.Naturals(), new() { Name = "own" }).Where(static _ => false)).ForEach(static x => throw new FormatException(), new() { Name = "late" })).Within();
        await run.SendAsync(1, TestToken);

        await Assert.ThrowsAsync<StageFaultedException>(() => lease.Completion.Within());

        Assert.Equal(RunState.Running, run.State);
        await Assert.ThrowsAsync<BroadcastClosedException>(() => AttachLateAsync(run));
        await run.SendAsync(2, TestToken);
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal([1, 2], Main);
        Assert.Equal(StageState.Canceled, report.Stage("fan").State);
        Assert.Single(report.SecondaryErrors);
        Assert.Contains(Log.Records, static r => r.EventId.Id == 13 && r.Message.Contains("'audit'", StringComparison.Ordinal));
    }

    [Theory] // S47, Puma 64
    [InlineData(false)]
    [InlineData(true)]
    public async Task LateBranchThatFailsWhenFull_FaultsTheRun_OrOnlyItself(bool isOptional)
    {
        ExpectFailure();
        if (isOptional)
            Expect(13);
        var started = new Gate();
        PipelineRun<int> run = StartWithMain();
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => (isOptional ? b.Optional() : b).WhenFull(FullMode.Fail, 1).ForEach(
            async (_, ct) =>
            {
                started.Open();
                await new Gate().WaitAsync(ct);
            },
            new() { Name = "late" })).Within();
        await run.SendAsync(1, TestToken);
        await started.WaitAsync();
        await run.SendAsync(2, TestToken);
        if (!isOptional)
        {
            await UntilFaultingAsync(run);
            run.Cancel();
            StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
            Assert.Equal("fan", fault.Stage);
            Assert.Equal(("late", 1), (((PipelineFullException)fault.InnerException!).Stage, ((PipelineFullException)fault.InnerException).Capacity));
            return;
        }

        StageFaultedException lost = await Assert.ThrowsAsync<StageFaultedException>(() => lease.Completion.Within());
        Assert.IsType<PipelineFullException>(lost.InnerException);
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal([1, 2], Main);
        AssertCounts(report, "late", accepted: 1, discarded: 1);
    }

    [Theory] // S47
    [InlineData(FullMode.DropNewest)]
    [InlineData(FullMode.DropOldest)]
    public async Task LateBranchThatDrops_KeepsItsEnd_AndTheOtherGetsEverything(FullMode mode)
    {
        ExpectFailure();
        var gate = new Gate();
        var started = new Gate();
        PipelineRun<int> run = StartWithMain();
        await run.SendAsync(1, TestToken);
        await UntilMainHasAsync(run, 1);
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.WhenFull(mode, 3).ForEach(
            async x =>
            {
                started.Open();
                await gate.WaitAsync();
                Late.Add(x);
            },
            new() { Name = "late" })).Within();
        await run.SendAsync(2, TestToken);
        await started.WaitAsync();
        await SendAsync(run, 3, 50);
        await UntilMainHasAsync(run, 50);
        await Waiting.UntilAsync(() => run.Snapshot().Links.Single(static l => l.To == "late").Sent == 49, "the last item was offered to the branch too");
        Task detaching = lease.DetachAsync();
        gate.Open();
        await detaching.Within();
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(mode == FullMode.DropNewest ? [2, 3, 4] : [2, 49, 50], Late);
        LinkReport link = report.Links.Single(static l => l.To == "late");
        Assert.Equal((49, 3, 46, 46), (link.Sent, link.Received, link.Discarded, link.Dropped));
        Assert.Equal(Enumerable.Range(1, 50), Main);
    }
}
