using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Branches that are attached to a broadcast while the run goes on.</summary>
public sealed class AttachTests : LifecycleTest
{
    private readonly List<int> _main = [];
    private readonly List<int> _late = [];

    [Fact] // S47, Puma 61
    public async Task LateBranch_GetsEveryItemAfterItsJoin_AndNoneBefore()
    {
        PipelineRun<int> run = StartWithMain();
        await SendAsync(run, 1, 10);
        await UntilMainHasAsync(run, 10);

        BranchLease lease = await AttachLateAsync(run);
        await SendAsync(run, 11, 20);
        await UntilMainHasAsync(run, 20);
        await lease.DetachAsync().Within();
        await SendAsync(run, 21, 30);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 30), _main);
        Assert.Equal(Enumerable.Range(11, 10), _late);
        Assert.Equal("late", lease.Name);
        await lease.Completion.Within();
        AssertCounts(report, "fan", accepted: 30, delivered: 30);
        AssertCounts(report, "late", accepted: 10, delivered: 10);
        Assert.Equal(40, report.Stage("fan").Emitted);
        Assert.Equal((StageState.Completed, EndReason.InputEnded), (report.Stage("late").State, report.Stage("late").EndReason));
        Assert.Equal(10, report.Links.Single(static l => l is { From: "fan", To: "late" }).Sent);
    }

    [Fact] // S47: whenever it joins and leaves, it has an unbroken run of items
    public async Task LateBranch_WhileItemsRace_GetsAnUnbrokenRunOfThem()
    {
        PipelineRun run = Start(Pipeline.From(FaultTests.Naturals()).Broadcast(new() { Name = "fan" }, b => b.ForEach(static _ => { }, new() { Name = "main" })));
        for (int round = 0; round < 200; round++)
        {
            List<int> seen = [];
            BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(seen.Add, new() { Name = "late", BoundedCapacity = 1 + (round % 7) })).Within();
            if (round % 3 != 0)
                await Waiting.UntilAsync(() => run.Stage("late").Report().Delivered > round % 5, "the branch has some");
            await lease.DetachAsync().Within();
            Assert.Equal(Enumerable.Range(seen.FirstOrDefault(), seen.Count), seen);
        }

        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal(RunState.Completed, report.State);
        Assert.Single(report.Stages, static s => s.Name == "late");
    }

    [Fact] // S1, S8: the branch is part of the run
    public async Task LateBranch_IsInTheReport_AndTheRunEndsWithIt()
    {
        var gate = new Gate();
        PipelineRun<int> run = StartWithMain();
        await run.Broadcast<int>("fan").AttachAsync(b => b.Named("audit").Transform(static x => -x, new() { Name = "negate" }).ForEach(
            async x =>
            {
                await gate.WaitAsync();
                _late.Add(x);
            },
            new() { Name = "late" }));
        Assert.Equal(StageState.Running, run.Stage("negate").State);
        await run.SendAsync(1, TestToken);
        run.Complete();
        await run.Stage("main").Completion.Within();
        await run.Stage("negate").Completion.Within();

        Assert.Equal(RunState.Draining, run.State);
        Assert.Equal(1, run.Snapshot().Stage("late").InFlight);
        gate.Open();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([-1], _late);
        Assert.Equal(["fan", "main", "negate", "late"], report.Stages.Select(static s => s.Name).Where(static n => n != "entry"));
    }

    [Fact] // a pipeline is a description
    public async Task LateBranch_BelongsToItsRunAlone()
    {
        Pipeline<int> pipeline = Pipeline.Accept<int>().Broadcast(new() { Name = "fan" }, b => b.ForEach(static _ => { }, new() { Name = "main" })).Build(Options);
        PipelineRun<int> first = Watch(pipeline.Start()), second = Watch(pipeline.Start());

        await first.Broadcast<int>("fan").AttachAsync(b => b.ForEach(_late.Add, new() { Name = "late" })).Within();
        await second.SendAsync(1, TestToken);
        first.Complete();
        second.Complete();
        await first.Completion.Within();
        PipelineReport report = await second.Completion.Within();

        Assert.Empty(_late);
        Assert.DoesNotContain(report.Stages, static s => s.Name == "late");
    }

    // ---- No branch. ------------------------------------------------------------------------------------------------------------------

    [Theory] // S47
    [InlineData(null)]
    [InlineData(NoBranches.Wait)]
    public async Task NoBranch_Wait_KeepsTheItemsForTheFirst(NoBranches? noBranches)
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan", BoundedCapacity = 5, NoBranches = noBranches }));
        await SendAsync(run, 1, 5);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("fan") is { SlotsHeld: 5, Activity: StageActivity.WaitingForOutput }, "the broadcast waits");
        Assert.False(run.TrySend(6));
        Assert.Contains("a branch", run.Snapshot().ToString(), StringComparison.Ordinal);

        await AttachLateAsync(run);
        await SendAsync(run, 6, 8);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 8), _late);
        AssertCounts(report, "fan", accepted: 8, delivered: 8);
    }

    [Fact] // S10: an input that has ended does not end what waits for a branch
    public async Task NoBranch_Wait_KeepsTheItemsOfASourceThatHasEnded()
    {
        PipelineRun run = Start(Pipeline.From([1, 2, 3], new() { Name = "source" }).Broadcast(new StageOptions { Name = "fan" }));
        await run.Stage("source").Completion.Within();

        await AttachLateAsync(run);
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2, 3], _late);
        Assert.Equal((RunState.Completed, EndReason.InputEnded), (report.State, report.Stage("fan").EndReason));
    }

    [Fact]
    public async Task NoBranch_NoItems_EndsWithItsInput()
    {
        PipelineRun run = Start(Pipeline.From(Array.Empty<int>()).Broadcast());

        Assert.Equal(RunState.Completed, (await run.Completion.Within()).State);
    }

    [Fact] // S9, S23, S32: nobody can come any more
    public async Task NoBranch_Wait_CompleteDiscardsAndCounts()
    {
        Expect(21);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan" }));
        await SendAsync(run, 1, 5);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("fan").SlotsHeld == 5, "five wait");
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        AssertCounts(report, "fan", accepted: 5, discarded: 5);
        Assert.Equal(Enumerable.Range(1, 5).Select(static i => new DiscardedItem(i, DiscardReason.NoBranch, "fan")), Discarded);
    }

    [Fact] // S32, S47
    public async Task NoBranch_Discard_CountsWhatNobodyGets()
    {
        Expect(21);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan", NoBranches = NoBranches.Discard }));
        await SendAsync(run, 1, 5);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("fan").Discarded == 5, "five are discarded");

        BranchLease lease = await AttachLateAsync(run);
        await SendAsync(run, 6, 8);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("late").Delivered == 3, "three are delivered");
        await lease.DetachAsync().Within();
        await SendAsync(run, 9, 10);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([6, 7, 8], _late);
        AssertCounts(report, "fan", accepted: 10, delivered: 3, discarded: 7);
        Assert.All(Discarded, static d => Assert.Equal(DiscardReason.NoBranch, d.Reason));
    }

    [Fact] // S13
    public async Task LastBranchGone_End_EndsTheRunForLackOfDemand()
    {
        var joined = new Gate();
        PipelineRun run = Start(Pipeline.From(FaultTests.Naturals(), new() { Name = "source" })
            .Broadcast(new() { Name = "fan" }, b => b.Tap(_ => joined.WaitAsync(TestToken)).Take(3, new() { Name = "take" }).ForEach(_main.Add)));
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(_late.Add, new() { Name = "late" })).Within();
        joined.Open();
        await run.Stage("take").Completion.Within();
        long seen = run.Stage("late").Report().Delivered;
        await Waiting.UntilAsync(() => run.Stage("late").Report().Delivered > seen + 100, "the other branch goes on");
        Assert.False(run.Completion.IsCompleted);
        await lease.DetachAsync().Within();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal(EndReason.NoDemand, report.Stage("fan").EndReason);
        Assert.Equal(EndReason.NoDemand, report.Stage("source").EndReason);
    }

    [Fact] // S47: nothing is lost between two branches, and the second goes on counting
    public async Task LastBranchDetached_Wait_KeepsTheItemsForTheNext_AlsoOfTheSameName()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan" }));
        for (int round = 0; round < 3; round++)
        {
            BranchLease lease = await AttachLateAsync(run);
            await SendAsync(run, (round * 10) + 1, (round * 10) + 5);
            await Waiting.UntilAsync(() => run.Snapshot().Stage("late").Delivered >= (round * 10) + 5, "the branch has them");
            await lease.DetachAsync().Within();
            Assert.Equal(StageState.Completed, run.Stage("late").State);
            await SendAsync(run, (round * 10) + 6, (round * 10) + 10);
        }

        await AttachLateAsync(run);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 30), _late);
        AssertCounts(report, "late", accepted: 30, delivered: 30);
        Assert.Equal((30, 30), (report.Stage("fan").Emitted, report.Links.Single(static l => l.To == "late").Received));
    }

    [Fact] // S47: the item that the only branch had no room for waits for the next branch
    public async Task LastBranchDetached_WhileAnItemWaitsForItsSlot_KeepsTheItem()
    {
        var gate = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan" }));
        BranchLease stuck = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(
            async x =>
            {
                await gate.WaitAsync();
                _main.Add(x);
            },
            new() { Name = "stuck", BoundedCapacity = 2 })).Within();
        await SendAsync(run, 1, 4);
        await UntilWaitingForOutputAsync(run, "fan");
        Task detaching = stuck.DetachAsync();
        await AttachLateAsync(run);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("late").Delivered == 2, "the next branch has the rest");
        Assert.False(detaching.IsCompleted);
        gate.Open();
        await detaching.Within();
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2], _main);
        Assert.Equal([3, 4], _late);
        AssertCounts(report, "fan", accepted: 4, delivered: 4);
    }

    // ---- Leaving. --------------------------------------------------------------------------------------------------------------------

    [Fact] // S47
    public async Task Detach_OfAFullBranch_LetsTheOthersGoOn_AndItFinishesWhatItHas()
    {
        var gate = new Gate();
        PipelineRun<int> run = StartWithMain();
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(
            async x =>
            {
                await gate.WaitAsync();
                _late.Add(x);
            },
            new() { Name = "late", BoundedCapacity = 2 })).Within();
        await SendAsync(run, 1, 20);
        await UntilWaitingForOutputAsync(run, "fan");
        Assert.Equal("late", run.Snapshot().Stage("fan").WaitsFor);

        Task detaching = lease.DetachAsync();
        await UntilMainHasAsync(run, 20);
        Assert.False(detaching.IsCompleted);
        gate.Open();
        await detaching.Within();
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2], _late);
        AssertCounts(report, "late", accepted: 2, delivered: 2);
        AssertCounts(report, "fan", accepted: 20, delivered: 20);
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

        await lease.DisposeAsync().Within();
        await lease.DisposeAsync().Within();
        await SendAsync(run, 6, 7);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.True(lease.Completion.IsCanceled);
        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal(Enumerable.Range(1, 7), _main);
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
        Assert.Contains("'late'", Assert.Throws<PipelineBuildException>(() => { _ = run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(_late.Add, new() { Name = "late" })); }).Message, StringComparison.Ordinal);
        await run.SendAsync(2, TestToken);
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        release.Open();
        Assert.Equal(["late"], report.Abandoned);
        AssertCounts(report, "late", accepted: 1, abandoned: 1);
        Assert.Equal([1, 2], _main);
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

    // ---- Failures and full modes. ----------------------------------------------------------------------------------------------------

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
            .ForEach(_late.Add, new() { Name = "late" })).Within();
        await SendAsync(run, 1, 3);
        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => lease.Completion.Within());
        await SendAsync(run, 4, 6);
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 6), _main);
        Assert.Equal([1, 2], _late);
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
            b => b.ForEach(_main.Add, new() { Name = "main" }),
            b => b.Named("audit").Optional().Broadcast(new() { Name = "fan" }, c => c.ForEach(static _ => { }, new() { Name = "other" }))));
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.Merge(Pipeline.From(FaultTests.Naturals(), new() { Name = "own" }).Where(static _ => false)).ForEach(static x => throw new FormatException(), new() { Name = "late" })).Within();
        await run.SendAsync(1, TestToken);

        await Assert.ThrowsAsync<StageFaultedException>(() => lease.Completion.Within());

        Assert.Equal(RunState.Running, run.State);
        await Assert.ThrowsAsync<BroadcastClosedException>(() => AttachLateAsync(run));
        await run.SendAsync(2, TestToken);
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal([1, 2], _main);
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
        Assert.Equal([1, 2], _main);
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
                _late.Add(x);
            },
            new() { Name = "late" })).Within();
        await run.SendAsync(2, TestToken);
        await started.WaitAsync();
        await SendAsync(run, 3, 50);
        await UntilMainHasAsync(run, 50);
        Task detaching = lease.DetachAsync();
        gate.Open();
        await detaching.Within();
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(mode == FullMode.DropNewest ? [2, 3, 4] : [2, 49, 50], _late);
        LinkReport link = report.Links.Single(static l => l.To == "late");
        Assert.Equal((49, 3, 46, 46), (link.Sent, link.Received, link.Discarded, link.Dropped));
        Assert.Equal(Enumerable.Range(1, 50), _main);
    }

    // ---- Refused. --------------------------------------------------------------------------------------------------------------------

    [Fact] // S14: a start-up failure is the failure of the attempt alone
    public async Task LateBranchThatCannotStart_IsRefusedWithItsFailure_AndHarmsNobodyElse()
    {
        PipelineRun<int> run = StartWithMain();
        int ownItems = 0;
        for (int round = 0; round < 2; round++)
        {
            StageFaultedException failure = await Assert.ThrowsAsync<StageFaultedException>(() => run.Broadcast<int>("fan").AttachAsync(b => b
                .Merge(Pipeline.From(FaultTests.Naturals()).Tap(_ => ownItems++))
                .Then(static () => new StartFails(), new() { Name = "late" })
                .ForEach(static _ => { }, new() { Name = "behind" })).Within());
            Assert.Equal("late", failure.Stage);
            Assert.IsType<FormatException>(failure.InnerException);
        }

        await SendAsync(run, 1, 5);
        await AttachLateAsync(run);
        await run.SendAsync(6, TestToken);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(0, ownItems);
        Assert.Equal(Enumerable.Range(1, 6), _main);
        Assert.Empty(report.SecondaryErrors);
        Assert.Equal(["entry", "fan", "late", "main"], report.Stages.Select(static s => s.Name).Order());
        Assert.Equal(2, Log.Records.Count(static r => r.EventId.Id == 15));
    }

    [Fact]
    public async Task AttemptThatIsCancelled_IsGivenUp()
    {
        var starting = new Gate();
        using var source = new CancellationTokenSource();
        PipelineRun<int> run = StartWithMain();
        Task<BranchLease> attaching = run.Broadcast<int>("fan").AttachAsync(b => b.Then(() => new StartWaits(starting), new() { Name = "late" }).ForEach(static _ => { }), source.Token);
        await starting.WaitAsync();
        Assert.Equal(StageState.Starting, run.Stage("late").State);
        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => attaching.Within());

        await SendAsync(run, 1, 5);
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.DoesNotContain(report.Stages, static s => s.Name == "late");
        Assert.Equal(Enumerable.Range(1, 5), _main);
    }

    [Theory] // S9, S21, S16
    [InlineData(RunState.Draining)]
    [InlineData(RunState.Canceling)]
    [InlineData(RunState.Faulting)]
    public async Task Attach_WhileTheRunEnds_IsRefused_AndSaysWhy(RunState state)
    {
        ExpectFailure();
        var gate = new Gate();
        var busy = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new() { Name = "fan" }, b => b.ForEach(
            async _ =>
            {
                busy.Open();
                await gate.WaitAsync();
            },
            new() { Name = "main" })));
        await run.SendAsync(1, TestToken);
        await busy.WaitAsync();
        Action end = state switch
        {
            RunState.Draining => run.Complete,
            RunState.Canceling => run.Cancel,
            _ => () => run.Fault(new FormatException("outside")),
        };
        end();

        var closed = await Assert.ThrowsAsync<BroadcastClosedException>(() => run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(static _ => { }, new() { Name = "late" })).Within());

        Assert.Equal(("fan", state), (closed.Stage, closed.State));
        Assert.Contains($"the run is {state}", closed.Message, StringComparison.Ordinal);
        Assert.Equal(state == RunState.Faulting, closed.InnerException is StageFaultedException);
        gate.Open();
        PipelineReport report = await run.Report.Within();
        Assert.DoesNotContain(report.Stages, static s => s.Name == "late");
        closed = await Assert.ThrowsAsync<BroadcastClosedException>(() => run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(static _ => { })).Within());
        Assert.Equal(report.State, closed.State);
    }

    [Fact] // S13
    public async Task Attach_ToABroadcastThatHasEnded_IsRefused_WhileTheRunGoesOn()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Broadcast(b => b.ForEach(_main.Add, new() { Name = "main" }), b => b.Take(2).Broadcast(new() { Name = "fan" }, c => c.ForEach(_late.Add))));
        await SendAsync(run, 1, 2);
        await run.Stage("fan").Completion.Within();

        var closed = await Assert.ThrowsAsync<BroadcastClosedException>(() => run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(static _ => { }, new() { Name = "later" })).Within());

        Assert.Equal((RunState.Running, EndReason.InputEnded), (closed.State, closed.EndReason));
        run.Complete();
        Assert.DoesNotContain((await run.Completion.Within()).Stages, static s => s.Name == "later");
    }

    [Fact]
    public async Task BranchWithProblems_IsRefused_WithAllOfThem()
    {
        PipelineRun<int> run = StartWithMain();
        BroadcastHandle<int> fan = run.Broadcast<int>("fan");
        Assert.Equal("fan", fan.Name);

        var problems = Assert.Throws<PipelineBuildException>(() =>
        {
            _ = fan.AttachAsync(b => b.WhenFull(FullMode.Wait, 0).Transform(static x => x, new() { Name = "main" }).ForEach(static _ => { }, new() { Name = "x", BoundedCapacity = 0, NoBranches = NoBranches.Wait }));
        }).Problems;

        Assert.Contains(problems, static p => p.Contains("'main': the run has a stage of this Name", StringComparison.Ordinal));
        Assert.Contains(problems, static p => p.Contains("capacity 0", StringComparison.Ordinal));
        Assert.Contains(problems, static p => p.Contains("'x': BoundedCapacity is 0", StringComparison.Ordinal));
        Assert.Contains(problems, static p => p.Contains("'x': NoBranches has no effect on a for-each stage", StringComparison.Ordinal));
        Assert.Contains("not connected", Assert.Throws<ArgumentException>(() => { _ = fan.AttachAsync(static _ => null!); }).Message, StringComparison.Ordinal);
        Assert.Contains("There is no stage 'x'", Assert.Throws<ArgumentException>(() => run.Broadcast<int>("x")).Message, StringComparison.Ordinal);
        Assert.Contains("is a for-each stage", Assert.Throws<ArgumentException>(() => run.Broadcast<int>("main")).Message, StringComparison.Ordinal);
        Assert.Contains("of type Int32, not String", Assert.Throws<ArgumentException>(() => run.Broadcast<string>("fan")).Message, StringComparison.Ordinal);
        run.Complete();
        Assert.Equal(3, (await run.Completion.Within()).Stages.Count);
    }

    [Fact]
    public void NoBranches_EndWithoutABranch_IsRefusedByBuild()
    {
        var refused = Assert.Throws<PipelineBuildException>(static () => Pipeline.From([1]).Broadcast(new StageOptions { NoBranches = NoBranches.End }).Build());
        Assert.Contains("would end at once", Assert.Single(refused.Problems), StringComparison.Ordinal);
        refused = Assert.Throws<PipelineBuildException>(static () => Pipeline.From([1]).Broadcast(new StageOptions { NoBranches = (NoBranches)42 }).Build());
        Assert.Contains("NoBranches is 42", Assert.Single(refused.Problems), StringComparison.Ordinal);
    }

    [Fact] // S33: the run's own stages still feed the target
    public async Task BranchWithTheDeadLetterTargetOfTheRun_IsRefused_ADelegateIsNot()
    {
        Func<DeadLetter<int>, CancellationToken, ValueTask> letters = (letter, _) =>
        {
            lock (_late)
                _late.Add(letter.Item);
            return default;
        };
        var block = new BufferBlock<DeadLetter<int>>();
        static int Fail(int x) => throw new FormatException();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(
            new() { Name = "fan" },
            b => b.Transform(Fail, new() { Name = "a", ErrorPolicy = ErrorPolicy.DeadLetter(letters) }).ForEach(static _ => { }),
            b => b.Transform(Fail, new() { Name = "b", ErrorPolicy = ErrorPolicy.DeadLetter(block) }).ForEach(static _ => { })));

        var refused = Assert.Throws<PipelineBuildException>(() => { _ = run.Broadcast<int>("fan").AttachAsync(b => b.Transform(Fail, new() { Name = "c", ErrorPolicy = ErrorPolicy.DeadLetter(block) }).ForEach(static _ => { })); });
        Assert.Contains("fed by stage 'b' already", Assert.Single(refused.Problems), StringComparison.Ordinal);
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.Transform(Fail, new() { Name = "c", ErrorPolicy = ErrorPolicy.DeadLetter(letters) }).ForEach(static _ => { })).Within();
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => block.Count == 1, "the letter is there");
        await lease.DetachAsync().Within();
        Assert.False(block.Completion.IsCompleted);
        Assert.Equal(1, block.Receive().Item);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 1], _late);
        AssertCounts(report, "c", accepted: 1, deadLettered: 1);
    }

    [Fact] // S28
    public async Task NoBranch_Wait_IsToldOfWhenItLasts()
    {
        Expect(30);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan" }), FakeTimeOptions);
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("fan").Activity == StageActivity.WaitingForOutput, "the broadcast waits");
        for (int i = 0; i < 10; i++)
            Time.Advance(TimeSpan.FromSeconds(10));

        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 30), "the standstill is told");

        Assert.Contains("'fan' waits for a branch", Log.Records.First(static r => r.EventId.Id == 30).Message, StringComparison.Ordinal);
        await AttachLateAsync(run);
        run.Complete();
        await run.Completion.Within();
        Assert.Equal([1], _late);
    }

    private PipelineRun<int> StartWithMain(PipelineOptions? options = null) =>
        Start(Pipeline.Accept<int>(new() { Name = "entry" }).Broadcast(new() { Name = "fan" }, b => b.ForEach(_main.Add, new() { Name = "main" })), options ?? Options);

    private Task<BranchLease> AttachLateAsync(PipelineRun run) =>
        run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(_late.Add, new() { Name = "late" }), TestToken).Within();

    private static async Task SendAsync(PipelineRun<int> run, int first, int last)
    {
        for (int i = first; i <= last; i++)
            await run.SendAsync(i, TestToken);
    }

    private static Task UntilMainHasAsync(PipelineRun run, int count) => Waiting.UntilAsync(() => run.Stage("main").Report().Delivered == count, $"main has {count}");

    private sealed class StartFails : Runnable<int, int>
    {
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken) => throw new FormatException("start");

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);
    }

    private sealed class StartWaits(Gate starting) : Runnable<int, int>
    {
        protected override async ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            starting.Open();
            await new Gate().WaitAsync(cancellationToken);
        }

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);
    }
}
