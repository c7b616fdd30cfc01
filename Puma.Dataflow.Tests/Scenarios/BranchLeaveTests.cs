using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Branches that leave a broadcast while the run goes on: detached, or given up.</summary>
public sealed class BranchLeaveTests : AttachTest
{
    [Fact] // S47
    public async Task Detach_OfAFullBranch_LetsTheOthersGoOn_AndItFinishesWhatItHas()
    {
        var gate = new Gate();
        PipelineRun<int> run = StartWithMain();
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(
            async x =>
            {
                await gate.WaitAsync();
                Late.Add(x);
            },
            new() { Name = "late", BoundedCapacity = 2 })).Within();
        await SendAsync(run, 1, 20);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("fan").WaitsFor == "late", "the broadcast waits for a slot of the branch");

        Task detaching = lease.DetachAsync();
        await UntilMainHasAsync(run, 20);
        Assert.False(detaching.IsCompleted);
        gate.Open();
        await detaching.Within();
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2], Late);
        AssertCounts(report, "late", accepted: 2, delivered: 2);
        AssertCounts(report, "fan", accepted: 20, delivered: 20);
    }

    [Fact] // S21: the end of its input did not come first
    public async Task Dispose_OfABranchWithHalfABatch_PassesOnNothing()
    {
        Expect(21);
        bool isPassedOn = false;
        TimeSpan abortTimeout = TimeSpan.FromSeconds(77);
        PipelineRun<int> run = StartWithMain(Options with { AbortTimeout = abortTimeout, TimeProvider = new WatchedTimers(GiveTime) });
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b
            .Batch(2, options: new() { Name = "late" })
            .ForEach(_ => Volatile.Write(ref isPassedOn, true))).Within();
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("late") is { Accepted: 1, Activity: StageActivity.WaitingForInput }, "half a batch is there");

        await lease.DisposeAsync().Within();
        run.Complete();
        await run.Completion.Within();

        Assert.False(isPassedOn);
        Assert.True(lease.Completion.IsCanceled);

        void GiveTime(TimeSpan due)
        {
            if (due == abortTimeout)
                SpinWait.SpinUntil(() => Volatile.Read(ref isPassedOn), TimeSpan.FromMilliseconds(50));
        }
    }

    [Fact] // S21, S22, S32
    public async Task Dispose_DiscardsWhatTheBranchHas_AndHarmsNobodyElse()
    {
        Expect(21);
        var started = new Gate();
        PipelineRun<int> run = StartWithMain();
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(
            async (_, ct) =>
            {
                started.Open();
                await new Gate().WaitAsync(ct);
            },
            new() { Name = "late" })).Within();
        await SendAsync(run, 1, 5);
        await started.WaitAsync();
        await UntilMainHasAsync(run, 5);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("late").Accepted == 5, "the branch has them too");

        await lease.DisposeAsync().Within();
        await lease.DisposeAsync().Within();
        await SendAsync(run, 6, 7);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.True(lease.Completion.IsCanceled);
        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal(Enumerable.Range(1, 7), Main);
        AssertCounts(report, "late", accepted: 5, discarded: 5);
        Assert.Equal((StageState.Canceled, EndReason.Canceled), (report.Stage("late").State, report.Stage("late").EndReason));
        Assert.All(Discarded, static d => Assert.Equal(DiscardReason.Canceled, d.Reason));
    }

    [Fact] // S27, S50
    public async Task Dispose_OfABranchThatDoesNotReturn_LeavesItBehind()
    {
        ExpectFailure();
        Expect(12);
        var started = new Gate();
        var release = new Gate();
        PipelineRun<int> run = StartWithMain(FakeTimeOptions);
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(
            async _ =>
            {
                started.Open();
                await release.WaitAsync();
            },
            new() { Name = "late" })).Within();
        await run.SendAsync(1, TestToken);
        await started.WaitAsync();
        Task disposing = lease.DisposeAsync().AsTask();
        Time.Advance(Options.AbortTimeout);
        await disposing.Within();
        Assert.Contains("'late'", Assert.Throws<PipelineBuildException>(() => { _ = run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(Late.Add, new() { Name = "late" })); }).Message, StringComparison.Ordinal);
        await run.SendAsync(2, TestToken);
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        release.Open();
        Assert.Equal(["late"], report.Abandoned);
        AssertCounts(report, "late", accepted: 1, abandoned: 1);
        Assert.Equal([1, 2], Main);
    }

    [Fact] // a detach is to a branch what Complete is to a run
    public async Task Detach_AsksTheSourcesOfTheBranchToEnd_WhichBeganWithTheJoin()
    {
        PipelineRun<int> run = StartWithMain();
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.Merge(Pipeline.From(FaultTests.Naturals(), new() { Name = "own" })).ForEach(static _ => { }, new() { Name = "late" })).Within();
        await Waiting.UntilAsync(() => run.Stage("late").Report().Delivered > 100, "items of the branch's own flow");
        await lease.DetachAsync().Within();
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(StageState.Completed, report.Stage("own").State);
        Assert.Equal(RunState.Completed, report.State);
    }

    [Fact] // a branch inside of a branch
    public async Task Detach_OfABranchWithABroadcast_EndsWhatWasAttachedThere()
    {
        List<int> inner = [];
        PipelineRun<int> run = StartWithMain();
        BranchLease outer = await run.Broadcast<int>("fan").AttachAsync(b => b.Broadcast(new StageOptions { Name = "second" })).Within();
        BranchLease innermost = await run.Broadcast<int>("second").AttachAsync(b => b.ForEach(inner.Add, new() { Name = "inner" })).Within();
        await SendAsync(run, 1, 5);
        await UntilMainHasAsync(run, 5);

        await outer.DetachAsync().Within();

        Assert.Equal(Enumerable.Range(1, 5), inner);
        await innermost.Completion.Within();
        await Assert.ThrowsAsync<BroadcastClosedException>(() => run.Broadcast<int>("second").AttachAsync(b => b.ForEach(inner.Add)).Within());
        run.Complete();
        await run.Completion.Within();
    }
}
