using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Branches that cannot join a broadcast of a run.</summary>
public sealed class RefusedBranchTests : AttachTest
{
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
        Assert.Equal(Enumerable.Range(1, 6), Main);
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
        Assert.Equal(Enumerable.Range(1, 5), Main);
    }

    [Fact] // S21: the end of its input did not come first
    public async Task AttemptThatIsCancelled_CompletesNothing()
    {
        bool hasCompleted = false;
        var starting = new Gate();
        TimeSpan abortTimeout = TimeSpan.FromSeconds(77);
        using var source = new CancellationTokenSource();
        PipelineRun<int> run = StartWithMain(Options with { AbortTimeout = abortTimeout, TimeProvider = new WatchedTimers(GiveTime) });
        Task<BranchLease> attaching = run.Broadcast<int>("fan").AttachAsync(
            b => b
                .Then(() => new TellsCompletion(() => Volatile.Write(ref hasCompleted, true)), new() { Name = "late" })
                .Then(() => new StartWaits(starting), new() { Name = "slow" })
                .ForEach(static _ => { }),
            source.Token);
        await starting.WaitAsync();
        await Waiting.UntilAsync(() => run.Stage("late").State == StageState.Running, "the first stage of the branch has started");
        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => attaching.Within());
        run.Complete();
        await run.Completion.Within();

        Assert.False(hasCompleted);

        void GiveTime(TimeSpan due)
        {
            if (due == abortTimeout)
                SpinWait.SpinUntil(() => Volatile.Read(ref hasCompleted), TimeSpan.FromMilliseconds(50));
        }
    }

    [Fact] // S47: it would be told of nothing
    public async Task ABroadcastWhoseEndIsDecidedAndNotTold_TakesNoBranch()
    {
        PipelineRun<int> run = StartWithMain();
        await run.Started.Within();
        StageNode fan = run.Graph.Nodes.Single(static n => n.Name == "fan");
        Assert.True(fan.TryDecideDiscard(DiscardReason.Canceled));

        await Assert.ThrowsAsync<BroadcastClosedException>(() => AttachLateAsync(run));

        run.Cancel();
        fan.RaiseDecided();
        await run.Report.Within();
        Assert.Empty(Late);
    }

    [Fact] // the report loses nothing
    public async Task AnAttemptUnderTheNamesOfAnEarlierBranch_LeavesItsNumbersWhereTheyAre()
    {
        var starting = new Gate();
        using var source = new CancellationTokenSource();
        PipelineRun<int> run = StartWithMain();
        BranchLease earlier = await AttachLateAsync(run);
        await SendAsync(run, 1, 5);
        await Waiting.UntilAsync(() => run.Stage("late").Report().Delivered == 5, "late has all");
        await earlier.DetachAsync().Within();

        Task<BranchLease> attaching = run.Broadcast<int>("fan").AttachAsync(b => b.Then(() => new StartWaits(starting), new() { Name = "late" }).ForEach(static _ => { }), source.Token);
        await starting.WaitAsync();
        AssertNumbersOfTheEarlier(run.Snapshot());
        await source.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => attaching.Within());
        AssertNumbersOfTheEarlier(run.Snapshot());
        run.Complete();

        AssertNumbersOfTheEarlier(await run.Completion.Within());

        static void AssertNumbersOfTheEarlier(PipelineSnapshot snapshot)
        {
            Assert.Equal(["entry", "fan", "main", "late"], snapshot.Stages.Select(static s => s.Name));
            Assert.Equal((5L, 5L), (snapshot.Stage("late").Accepted, snapshot.Stage("late").Delivered));
            Assert.Equal(5, snapshot.Links.Single(static l => l.To == "late").Sent);
            Assert.Contains("late", snapshot.ToMermaid(), StringComparison.Ordinal);
            Assert.Contains("late", snapshot.ToDot(), StringComparison.Ordinal);
        }
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
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Broadcast(new() { Name = "fan" }, b => b.ForEach(
                async _ =>
                {
                    busy.Open();
                    await gate.WaitAsync();
                },
                new() { Name = "main" })),
            FakeTimeOptions);
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
            .Broadcast(b => b.ForEach(Main.Add, new() { Name = "main" }), b => b.Take(2).Broadcast(new() { Name = "fan" }, c => c.ForEach(Late.Add))));
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

    [Fact] // S33: the run's own stages still feed the target
    public async Task BranchWithTheDeadLetterTargetOfTheRun_IsRefused_ADelegateIsNot()
    {
        Func<DeadLetter<int>, CancellationToken, ValueTask> letters = (letter, _) =>
        {
            lock (Late)
                Late.Add(letter.Item);
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

        Assert.Equal([1, 1], Late);
        AssertCounts(report, "c", accepted: 1, deadLettered: 1);
    }

    private sealed class StartFails : Runnable<int, int>
    {
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken) => throw new FormatException("start");

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);
    }

    private sealed class TellsCompletion(Action onCompleted) : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken)
        {
            onCompleted();
            return default;
        }
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
