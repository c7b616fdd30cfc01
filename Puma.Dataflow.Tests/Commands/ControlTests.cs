using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

/// <summary>Typed calls to a runnable, wherever it lives.</summary>
public sealed class ControlTests : ChildTest
{
    public static TheoryData<string> Places => Placed.All;

    private static StageOptions At(string place) => Placed.At(place, "counter");

    private PipelineRun<int> StartCounter(string place, PipelineOptions? options = null) =>
        Start(Pipeline.Accept<int>().Then(static () => new Counter(), At(place)).ForEach(static _ => { }), options);

    private static async Task EndAsync(PipelineRun<int> run)
    {
        run.Complete();
        await run.Completion.Within();
    }

    [Theory, MemberData(nameof(Places))] // S42, Puma 69, 75
    public async Task Calls_WithAndWithoutResult_Arguments_AndRecordsAtAnyDepth(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");

        // Before the start they wait.
        await counter.AddAsync(2, TestToken).AsTask().Within();
        await counter.AddAsync(3).AsTask().Within();
        Assert.Equal(5, await counter.SumAsync().Within());
        Assert.Equal("a 1 b+c", await counter.JoinAsync("a", 1, ["b", "c"], TestToken).Within());
        Assert.Equal(" none ", await counter.JoinAsync("", null, []).Within());
        Person moved = await counter.MoveAsync(new Person("Ada", new Town("Rom", [1, 2])), "Oslo").Within();
        Assert.Equal(("Ada", "Oslo"), (moved.Name, moved.Town.Name));
        Assert.Equal([1, 2], moved.Town.Codes);
        Assert.Equal(place == "child process", await counter.ProcessIdAsync().Within() != Environment.ProcessId);
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42, Puma G1
    public async Task ACallThatFails_FailsAlone_WithWhatItThrew(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");

        CommandFailedException failure = await Assert.ThrowsAsync<CommandFailedException>(() => counter.FailAsync("no such format").AsTask().Within());

        Assert.Equal(("counter", 0, "ICounter.FailAsync", CommandFailure.Threw), (failure.Stage, failure.Instance, failure.Member, failure.Failure));
        Assert.True(failure.IsCausedBy<FormatException>());
        Assert.Contains("no such format", failure.Message, StringComparison.Ordinal);
        Assert.Contains(nameof(Counter.FailAsync), failure.ToString(), StringComparison.Ordinal);
        for (int i = 0; i < 10; i++)
            await counter.AddAsync(1).AsTask().Within();
        Assert.Equal(10, await counter.SumAsync().Within());
        await run.SendAsync(1, TestToken);
        await EndAsync(run);
        Assert.Equal(1, (await run.Report).Stage("counter").Delivered);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task ManyCallers_OfOneProxy_EachGetsItsOwnAnswer_WhileItemsFlow(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");
        Task sending = Task.Run(async () =>
        {
            for (int i = 0; i < 2_000; i++)
                await run.SendAsync(i, TestToken);
        });

        await Task.WhenAll(Enumerable.Range(0, 100).Select(caller => Task.Run(async () =>
        {
            for (int i = 0; i < 20; i++)
            {
                Assert.Equal($"{caller} {i} x", await counter.JoinAsync($"{caller}", i, ["x"]));
                await counter.AddAsync(1);
            }
        }))).Within();

        await sending.Within();
        Assert.Equal(2_000, await counter.SumAsync().Within());
        await EndAsync(run);
        Assert.Equal(2_000, (await run.Report).Stage("counter").Delivered);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task ACanceledCall_LetsItsCallerGo_AndLeavesNothingBehind(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");
        using var source = new CancellationTokenSource();
        Task waiting = counter.WaitForeverAsync(source.Token).AsTask();

        // It waits behind the other one and never runs.
        using var second = new CancellationTokenSource();
        Task queued = counter.AddAsync(1, second.Token).AsTask();
        await second.CancelAsync();
        Assert.Equal(second.Token, (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => queued.Within())).CancellationToken);

        await source.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.Within());
        Assert.Equal(0, await counter.SumAsync().Within());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => counter.AddAsync(1, source.Token).AsTask().Within());
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task AfterTheEnd_CallsAreRefused_WithTheReason(string place)
    {
        ExpectFailure();
        PipelineRun<int> completed = StartCounter(place), canceled = StartCounter(place), faulted = StartCounter(place);
        completed.Complete();
        canceled.Cancel();
        faulted.Fault(new FormatException("from outside"));
        await completed.Completion.Within();
        await canceled.Report.Within();
        await faulted.Report.Within();

        await AssertRefusedAsync(completed, "completed");
        await AssertRefusedAsync(canceled, "cancelled");
        await AssertRefusedAsync(faulted, "cancelled");
    }

    private static async Task AssertRefusedAsync(PipelineRun<int> run, string why)
    {
        CommandFailedException refused = await Assert.ThrowsAsync<CommandFailedException>(() => run.Control<ICounter>("counter").AddAsync(1).AsTask().Within());
        Assert.Equal(CommandFailure.StageEnded, refused.Failure);
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task AStream_IsReadToItsEnd_OrLeftEarly(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");

        Assert.Equal([5, 6, 7, 8], await ReadAsync(counter.CountAsync(5, 4, TestToken), 10).Within());
        Assert.Equal([1, 2], await ReadAsync(counter.CountAsync(1, 1_000, TestToken), 2).Within());
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S41
    public async Task AStreamThatWaits_DoesNotHoldTheRunnable(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");
        IAsyncEnumerator<int> sums = counter.WatchAsync(TestToken).GetAsyncEnumerator(TestToken);
        Assert.True(await sums.MoveNextAsync().AsTask().Within());
        Assert.Equal(0, sums.Current);

        Task<bool> next = sums.MoveNextAsync().AsTask();
        await run.SendAsync(1, TestToken);
        await counter.AddAsync(3).AsTask().Within();
        Assert.True(await next.Within());
        Assert.Equal(3, sums.Current);
        await sums.DisposeAsync().AsTask().Within();
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task AStream_WhoseReaderGivesUpWhileItWaits_Ends(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");
        using var source = new CancellationTokenSource();
        var reading = Task.Run(async () =>
        {
            await foreach (int sum in counter.WatchAsync().WithCancellation(source.Token))
                await source.CancelAsync();
        });

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading.Within());
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task AStreamThatWaits_WhenTheStageEnds_FailsWithTheReason(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        IAsyncEnumerator<int> sums = run.Control<ICounter>("counter").WatchAsync(TestToken).GetAsyncEnumerator(TestToken);
        Assert.True(await sums.MoveNextAsync().AsTask().Within());
        Task<bool> next = sums.MoveNextAsync().AsTask();

        await EndAsync(run);

        CommandFailedException ended = await Assert.ThrowsAsync<CommandFailedException>(() => next.Within());
        Assert.Equal(CommandFailure.StageEnded, ended.Failure);
        await sums.DisposeAsync().AsTask().Within();
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task ARemoteObject_StaysWhereItLives_UntilItsLeaseEnds(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");

        ISession session = await counter.OpenAsync("first").AsTask().Within();
        ISession inner = await session.ChildAsync("second").AsTask().Within();
        Assert.Equal("first says hello to Ada", await session.HelloAsync("Ada").AsTask().Within());
        Assert.Equal("first/second says hello to Bob", await inner.HelloAsync("Bob").AsTask().Within());
        Assert.Equal(2, await counter.OpenSessionsAsync().AsTask().Within());

        await session.DisposeAsync().AsTask().Within();
        await session.DisposeAsync().AsTask().Within();
        Assert.Equal(1, await counter.OpenSessionsAsync().AsTask().Within());
        CommandFailedException ended = await Assert.ThrowsAsync<CommandFailedException>(() => session.HelloAsync("x").AsTask().Within());
        Assert.Equal(CommandFailure.NotServed, ended.Failure);
        await EndAsync(run);

        // The other lease has ended with the instance.
        await inner.DisposeAsync().AsTask().Within();
        await Assert.ThrowsAsync<CommandFailedException>(() => inner.HelloAsync("x").AsTask().Within());
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task AnObjectOfTheCaller_IsCalledFromThere_AndStaysItsOwners(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");
        var oracle = new Oracle();

        Assert.Equal($"42 of {Environment.ProcessId}", await counter.AskAsync(oracle, "42").AsTask().Within());
        await counter.KeepAsync(oracle).AsTask().Within();
        Assert.Equal($"43 of {Environment.ProcessId}", await counter.AskKeptAsync("43").AsTask().Within());
        CommandFailedException failure = await Assert.ThrowsAsync<CommandFailedException>(() => counter.AskKeptAsync("").AsTask().Within());
        Assert.True(failure.IsCausedBy<CommandFailedException>());
        Assert.True(failure.IsCausedBy<ArgumentException>());
        await EndAsync(run);
        Assert.False(oracle.IsDisposed);
    }

    [Theory] // S41
    [InlineData("in process")]
    [InlineData("own thread")]
    public async Task AnObjectOfTheCaller_ThatCallsTheRunnableWhichWaitsForIt_IsAnswered(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");
        await counter.AddAsync(7).AsTask().Within();

        Assert.Equal("7", await counter.AskAsync(new CallingBack(counter), "sum").AsTask().Within());
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S44, Puma 74
    public async Task Timestamps_OfAllProcesses_CanBeCompared(string place)
    {
        PipelineRun<int> run = StartCounter(place, Options with { TimeProvider = TimeProvider.System });
        ICounter counter = run.Control<ICounter>("counter");

        long before = TimeProvider.System.GetTimestamp();
        long there = await counter.TimestampAsync().AsTask().Within();

        Assert.InRange(there, before, TimeProvider.System.GetTimestamp());
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task AnInterfaceThatTheRunnableDoesNotImplement_IsRefused_AndTheRunnableUnharmed(string place)
    {
        PipelineRun<int> run = StartCounter(place);

        CommandFailedException refused = await Assert.ThrowsAsync<CommandFailedException>(() => run.Control<IStranger>("counter").HelloAsync().AsTask().Within());

        Assert.Equal(CommandFailure.NotServed, refused.Failure);
        Assert.Contains("Counter does not implement IStranger", refused.Message, StringComparison.Ordinal);
        Assert.Equal(0, await run.Control<ICounter>("counter").SumAsync().Within());
        await EndAsync(run);
    }

    [Theory] // S42, S38
    [InlineData("loopback")]
    [InlineData("child process")]
    public async Task AResultThatCannotBeCarried_FailsItsCall(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");

        CommandFailedException failure = await Assert.ThrowsAsync<CommandFailedException>(() => counter.UncarriableAsync(fails: false).AsTask().Within());
        Assert.Equal(CommandFailure.NotCarried, failure.Failure);

        // Its type is known before, so that it does not run.
        Assert.Equal(CommandFailure.NotCarried, (await Assert.ThrowsAsync<CommandFailedException>(() => counter.UncarriableAsync(fails: true).AsTask().Within())).Failure);
        Assert.Equal(0, await counter.SumAsync().Within());
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S44, Puma 74
    public async Task Ticks_AreSetPausedAndResumed_ByTheOwner(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ITickControl ticks = run.Stage("counter").Ticks;

        await ticks.SetIntervalAsync(TimeSpan.FromHours(1)).AsTask().Within();
        await ticks.PauseAsync().AsTask().Within();
        await ticks.ResumeAsync().AsTask().Within();
        await ticks.SetIntervalAsync(null).AsTask().Within();
        foreach (TimeSpan bad in (TimeSpan[])[TimeSpan.Zero, TimeSpan.FromSeconds(-1), TimeSpan.FromDays(50)])
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => ticks.SetIntervalAsync(bad).AsTask().Within());
        await EndAsync(run);
    }

    [Fact] // S37, S42
    public async Task ALostChild_FailsItsCalls_WithTheExitCode()
    {
        ExpectFailure();
        Expect(40);
        PipelineRun<int> run = StartCounter("child process");
        ICounter counter = run.Control<ICounter>("counter");
        await run.Started.Within();
        Task[] pending = [counter.DieAsync().AsTask(), .. Enumerable.Range(0, 100).Select(_ => counter.AddAsync(1).AsTask())];

        foreach (Task call in pending)
        {
            CommandFailedException lost = await Assert.ThrowsAsync<CommandFailedException>(() => call.Within());
            Assert.Equal(CommandFailure.ProcessLost, lost.Failure);
            Assert.Equal(7, Assert.IsType<ChildProcessLostException>(lost.InnerException).Exit.ExitCode);
        }

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
    }

    [Fact] // S36, S42
    public async Task AfterARestart_NewCallsWork()
    {
        Expect(40);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Then(static () => new Counter(), new()
        {
            Name = "counter",
            Placement = Placement.ChildProcess with { OnLoss = LossPolicy.Restart(), StateLoss = StateLoss.Accepted },
        }).ForEach(static _ => { }));
        ICounter counter = run.Control<ICounter>("counter");
        await counter.AddAsync(5).AsTask().Within();
        await Assert.ThrowsAsync<CommandFailedException>(() => counter.DieAsync().AsTask().Within());

        await counter.AddAsync(2).AsTask().Within();
        Assert.Equal(2, await counter.SumAsync().Within());
        await EndAsync(run);
    }

    [Theory] // S41
    [InlineData("in process")]
    [InlineData("loopback")]
    [InlineData("child process")]
    public async Task APool_AMemberWithoutResult_GoesToEachInstance_OneWithResultNeedsItsInstance(string place)
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Then(static () => new Counter(), At(place) with { MaxDegreeOfParallelism = 3 }).ForEach(static _ => { }));

        await run.Control<ICounter>("counter").AddAsync(4).AsTask().Within();
        for (int i = 0; i < 3; i++)
        {
            await run.Control<ICounter>("counter", i).AddAsync(i).AsTask().Within();
            Assert.Equal(4 + i, await run.Control<ICounter>("counter", i).SumAsync().Within());
        }

        // At the call, not by its task.
        ICounter all = run.Control<ICounter>("counter");
        Assert.All(
            (Action[])[() => _ = all.SumAsync(), () => _ = all.CountAsync(1, 2, TestToken), () => _ = all.OpenAsync("").AsTask(), () => _ = all.KeepAsync(new CallingBack(all)).AsTask()],
            static call => Assert.Contains("has 3 instances. Name one of them: Control<…>(\"counter\", instance: 0 to 2)", Assert.Throws<InvalidOperationException>(call).Message, StringComparison.Ordinal));
        var noInterval = Assert.Throws<ArgumentOutOfRangeException>("interval", () => { _ = run.Stage("counter").Ticks.SetIntervalAsync(TimeSpan.Zero, TestToken).AsTask(); });
        Assert.Contains("must be positive", noInterval.Message, StringComparison.Ordinal);
        var noInstance = Assert.Throws<ArgumentOutOfRangeException>("instance", () => run.Control<ICounter>("counter", 3));
        Assert.Contains("Stage 'counter' has no such instance. Its instances are 0 to 2.", noInstance.Message, StringComparison.Ordinal);
        await EndAsync(run);
    }

    [Fact]
    public async Task WhatCannotBeControlled_IsRefusedAtOnce()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { Name = "in" }).Transform(static x => x, new() { Name = "delegate" }).Batch(1).ForEach(static _ => { }));

        Assert.Contains("batch", Assert.Throws<ArgumentException>("stage", () => run.Control<ICounter>("none")).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>("stage", () => run.Control<ICounter>("in"));
        Assert.Throws<ArgumentNullException>("stage", () => run.Control<ICounter>(null!));
        Assert.Throws<ArgumentException>("name", () => run.Stage("none"));
        Assert.Throws<ArgumentException>(null, () => run.Stage("in").Ticks);
        Assert.Equal(CommandFailure.NotServed, (await Assert.ThrowsAsync<CommandFailedException>(() => run.Control<ICounter>("delegate").SumAsync().Within())).Failure);
        run.Complete();
        await run.Completion.Within();
    }

    [Theory] // S41, S46
    [InlineData("in process")]
    [InlineData("loopback")]
    [InlineData("child process")]
    public async Task AForeignBlock_IsRefusedAtOnce_AndHarmsNothing(string place)
    {
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Through(static () => new TransformBlock<int, int>(static x => x + 1), Placed.At(place, "foreign"))
            .ForEach(seen.Add));

        foreach (int? instance in (int?[])[null, 0])
        {
            string why = Assert.Throws<ArgumentException>("stage", () => run.Control<ICounter>("foreign", instance)).Message;
            Assert.StartsWith("Stage 'foreign' hosts a foreign block, which is no runnable and takes no calls.", why, StringComparison.Ordinal);
        }

        Assert.Throws<ArgumentException>(null, () => run.Stage("foreign").Ticks);
        await run.SendAsync(1, TestToken);
        run.Complete();
        await run.Completion.Within();
        Assert.Equal([2], seen);
    }

    private static async Task<List<int>> ReadAsync(IAsyncEnumerable<int> values, int most)
    {
        List<int> read = [];
        await foreach (int value in values)
        {
            read.Add(value);
            if (read.Count == most)
                break;
        }

        return read;
    }

    private sealed class CallingBack(ICounter counter) : IOracle
    {
        public async ValueTask<string> AnswerAsync(string question, CancellationToken cancellationToken) =>
            $"{await counter.SumAsync()}";

        public ValueTask DisposeAsync() => default;
    }

    private sealed class Oracle : IOracle
    {
        public bool IsDisposed { get; private set; }

        public ValueTask<string> AnswerAsync(string question, CancellationToken cancellationToken)
        {
            ArgumentException.ThrowIfNullOrEmpty(question);
            return ValueTask.FromResult($"{question} of {Environment.ProcessId}");
        }

        public ValueTask DisposeAsync()
        {
            IsDisposed = true;
            return default;
        }
    }
}
