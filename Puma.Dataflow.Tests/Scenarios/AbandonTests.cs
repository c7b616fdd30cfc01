using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>User code that does not return when it is told to.</summary>
public sealed class AbandonTests : LifecycleTest
{
    [Theory] // S27, S30
    [InlineData(1)]
    [InlineData(2)]
    public async Task ADelegateThatIgnoresItsToken_IsAbandoned_ListedAndCounted_AndItsLaterEmitsAreRefused(int parallelism)
    {
        ExpectFailure();
        Expect(12);
        var never = new Gate();
        using var started = new CountdownEvent(parallelism);
        var emitted = new TaskCompletionSource<Exception?>(TaskCreationOptions.RunContinuationsAsynchronously);
        int endings = 0;
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>()
                .Then(
                    () => new Stubborn(
                        async emit =>
                        {
                            started.Signal();
                            await never.WaitAsync();
                            emitted.TrySetResult(await Record.ExceptionAsync(emit));
                        },
                        () => Interlocked.Increment(ref endings)),
                    new() { Name = "stubborn", MaxDegreeOfParallelism = parallelism })
                .ForEach(static _ => { }, new() { Name = "sink" }),
            FakeTimeOptions with { AbortTimeout = TimeSpan.FromSeconds(5) });
        for (int i = 0; i < 6; i++)
            await run.SendAsync(i, TestToken);
        await Waiting.UntilAsync(() => started.IsSet, "the handlers run");
        run.Cancel();
        Time.Advance(TimeSpan.FromSeconds(4.9));
        await UntilOnlyAsync(run, "stubborn");
        Assert.False(run.Completion.IsCompleted);
        Time.Advance(TimeSpan.FromSeconds(0.1));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());

        PipelineReport report = await run.Report;
        Assert.Equal(["stubborn"], report.Abandoned);
        Assert.Equal((StageState.Canceled, EndReason.Abandoned), (report.Stage("stubborn").State, report.Stage("stubborn").EndReason));
        AssertCounts(report, "stubborn", accepted: 6, discarded: 6 - parallelism, abandoned: parallelism);
        AssertCounts(report, "sink", accepted: 0);
        never.Open();
        Assert.IsAssignableFrom<OperationCanceledException>(await emitted.Task.Within());
        Assert.Equal(0, endings);
        AssertCounts(await run.Report, "stubborn", accepted: 6, discarded: 6 - parallelism, abandoned: parallelism);
    }

    [Fact] // S27: one budget, also for OnEndAsync
    public async Task AnOnEndThatNeverReturns_IsAbandoned()
    {
        ExpectFailure();
        Expect(12);
        var ending = new Gate();
        var never = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Then(
                () => new EndsNever(async () =>
                {
                    ending.Open();
                    await never.WaitAsync();
                }),
                new() { Name = "stubborn" })
                .ForEach(static _ => { }, new() { Name = "sink" }),
            FakeTimeOptions);
        await run.Started.Within();
        run.Cancel();
        await ending.WaitAsync();
        await UntilOnlyAsync(run, "stubborn");
        Time.Advance(TimeSpan.FromSeconds(5));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());

        Assert.Equal(["stubborn"], (await run.Report).Abandoned);
        never.Open();
    }

    [Fact] // S50: at the latest after the abort time-out
    public async Task Dispose_ReturnsWhenTheRestIsAbandoned()
    {
        ExpectFailure();
        Expect(12);
        var never = new Gate();
        var starting = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Then(
                () => new StartsNever(async () =>
                {
                    starting.Open();
                    await never.WaitAsync();
                }),
                new() { Name = "stubborn" })
                .ForEach(static _ => { }),
            FakeTimeOptions);
        await starting.WaitAsync();
        Task disposing = run.DisposeAsync().AsTask();
        await UntilOnlyAsync(run, "stubborn");
        Assert.False(disposing.IsCompleted);
        Time.Advance(TimeSpan.FromSeconds(5));

        await disposing.Within();

        Assert.True(run.Started.IsCanceled);
        Assert.Equal(["stubborn"], (await run.Report).Abandoned);
        never.Open();
    }

    [Theory] // S26: phase one
    [InlineData(1)]
    [InlineData(2)]
    public async Task ItemTimeout_FiresTheToken_AndTheItemFailsByItsPolicy(int parallelism)
    {
        var started = new Gate();
        CancellationToken given = default;
        List<int> seen = [];
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Transform(
                async (x, ct) =>
                {
                    if (x == 1)
                    {
                        given = ct;
                        started.Open();
                        await new Gate().WaitAsync(ct);
                    }

                    return x;
                },
                new() { Name = "work", ItemTimeout = TimeSpan.FromSeconds(3), ErrorPolicy = ErrorPolicy.Skip, MaxDegreeOfParallelism = parallelism })
                .ForEach(seen.Add),
            FakeTimeOptions);
        await run.SendAsync(1, TestToken);
        await started.WaitAsync();
        Time.Advance(TimeSpan.FromSeconds(2.9));
        Assert.False(given.IsCancellationRequested);
        Time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.True(given.IsCancellationRequested);
        await run.SendAsync(2, TestToken);
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([2], seen);
        AssertCounts(report, "work", accepted: 2, delivered: 1, skipped: 1);
        Assert.Contains(Log.Records, static r => r.EventId.Id == 23 && r.Exception is TimeoutException);
    }

    [Theory] // S26: phase two
    [InlineData(1)]
    [InlineData(2)]
    public async Task ItemTimeout_OfAHandlerThatDoesNotReturn_FaultsTheRun_AndAbandonsIt(int parallelism)
    {
        ExpectFailure();
        Expect(12);
        var started = new Gate();
        var never = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Transform(
                async x =>
                {
                    started.Open();
                    await never.WaitAsync();
                    return x;
                },
                new() { Name = "work", ItemTimeout = TimeSpan.FromSeconds(3), ErrorPolicy = ErrorPolicy.Skip, MaxDegreeOfParallelism = parallelism })
                .ForEach(static _ => { }, new() { Name = "sink" }),
            FakeTimeOptions with { AbortTimeout = TimeSpan.FromSeconds(5) });
        await run.SendAsync(1, TestToken);
        await started.WaitAsync();
        Time.Advance(TimeSpan.FromSeconds(3));
        Time.Advance(TimeSpan.FromSeconds(4.9));
        Assert.Equal(RunState.Running, run.State);
        Time.Advance(TimeSpan.FromSeconds(0.1));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("work", 1), (fault.Stage, fault.ItemNumber));
        Assert.True(fault.IsCausedBy<TimeoutException>());
        PipelineReport report = await run.Report;
        Assert.Equal(["work"], report.Abandoned);
        AssertCounts(report, "work", accepted: 1, abandoned: 1);
        never.Open();
    }

    [Fact] // S35: a waiting retry holds completion
    public async Task RetryPendingAtComplete_IsWaitedFor()
    {
        int attempts = 0;
        List<int> seen = [];
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Transform(
                x => Interlocked.Increment(ref attempts) < 3 ? throw new FormatException() : x,
                new() { Name = "work", ErrorPolicy = ErrorPolicy.Retry(2, Backoff.Constant(TimeSpan.FromMinutes(1))) })
                .ForEach(seen.Add),
            FakeTimeOptions with { StallTimeout = TimeSpan.FromHours(1), DrainTimeout = TimeSpan.FromHours(1) });
        await run.SendAsync(7, TestToken);
        await UntilRetryingAsync();
        run.Complete();
        Assert.Equal(RunState.Draining, run.State);
        Time.Advance(TimeSpan.FromMinutes(1));
        await Waiting.UntilAsync(() => Volatile.Read(ref attempts) == 2, "the second attempt");
        await UntilRetryingAsync();
        Assert.False(run.Completion.IsCompleted);
        Time.Advance(TimeSpan.FromMinutes(1));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([7], seen);
        Assert.Equal(3, attempts);
        AssertCounts(report, "work", accepted: 1, delivered: 1);

        Task UntilRetryingAsync() => Waiting.UntilAsync(() => run.Snapshot().Stage("work").Activity == StageActivity.WaitingForRetry, "the item waits for its retry");
    }

    [Theory] // S35, S21
    [InlineData(1)]
    [InlineData(2)]
    public async Task RetryPendingAtCancel_IsGivenUp(int parallelism)
    {
        ExpectFailure();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().ForEach(
                static _ => throw new FormatException(),
                new() { Name = "work", MaxDegreeOfParallelism = parallelism, ErrorPolicy = ErrorPolicy.Retry(2, Backoff.Constant(TimeSpan.FromMinutes(1))) }),
            FakeTimeOptions);
        await run.SendAsync(7, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work").Activity == StageActivity.WaitingForRetry, "the item waits for its retry");
        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());

        AssertCounts(await run.Report, "work", accepted: 1, discarded: 1);
    }

    [Fact] // S28
    public async Task StalledRun_IsWarnedOfOnce_WithTheChain()
    {
        Expect(30);
        var gate = new Gate();
        PipelineRun run = Start(
            Pipeline.From(Enumerable.Range(1, 9), new() { Name = "source" })
                .Transform(static x => x, new() { Name = "work", BoundedCapacity = 2 })
                .ForEach(async _ => await gate.WaitAsync(), new() { Name = "sink", BoundedCapacity = 2 }),
            FakeTimeOptions with { StallTimeout = TimeSpan.FromSeconds(20) });
        await UntilFullAsync(run);
        await UntilWaitingForOutputAsync(run, "work");
        await UntilWaitingForOutputAsync(run, "source");
        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink").InFlight == 1, "the sink works");
        Time.Advance(TimeSpan.FromSeconds(5));
        Time.Advance(TimeSpan.FromSeconds(15));
        Assert.DoesNotContain(Log.Records, static r => r.EventId.Id == 30);
        Time.Advance(TimeSpan.FromSeconds(5));
        string chain = Assert.Single(Log.Records, static r => r.EventId.Id == 30).Message;
        Assert.Contains("'source' waits for a slot of 'work'", chain, StringComparison.Ordinal);
        Assert.Contains("'work' waits for a slot of 'sink' (2 of 2 slots held)", chain, StringComparison.Ordinal);
        Assert.Contains("'sink' has 1 item in work", chain, StringComparison.Ordinal);
        Time.Advance(TimeSpan.FromMinutes(2));
        Assert.Single(Log.Records, static r => r.EventId.Id == 30);
        gate.Open();

        AssertCounts(await run.Completion.Within(), "sink", accepted: 9, delivered: 9);
    }

    [Fact] // S34: a delegate that blocks its thread keeps the stage from waking its writer for each slot
    public async Task BlockedStage_WithSlotsThatAreFree_GetsThemFilled()
    {
        Gate first = new(), second = new();
        PipelineRun run = Start(
            Pipeline.From(Enumerable.Range(0, 100), new() { Name = "source" })
                .ForEach(
                    x =>
                    {
                        if (x == 0)
                            first.Block();
                        if (x == 3)
                            second.Block();
                    },
                    new() { Name = "sink", BoundedCapacity = 8 }),
            FakeTimeOptions with { StallTimeout = TimeSpan.FromSeconds(20) });
        await UntilWaitingForOutputAsync(run, "source");
        first.Open();
        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink") is { Delivered: 3, InFlight: 1 }, "the sink is blocked again");

        Time.Advance(TimeSpan.FromSeconds(5));

        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink") is { SlotsHeld: 8, Queued: 7 }, "the free slots are used");
        second.Open();
        AssertCounts(await run.Completion.Within(), "sink", accepted: 100, delivered: 100);
    }

    [Fact] // S28: idle is not stalled
    public async Task IdleRun_IsNotWarnedOf()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static _ => { }, new() { Name = "sink" }), FakeTimeOptions);
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink") is { Delivered: 1, SlotsHeld: 0 }, "the item is handled");
        Time.Advance(TimeSpan.FromMinutes(5));
        run.Complete();
        await run.Completion.Within();
        Assert.DoesNotContain(Log.Records, static r => r.EventId.Id == 30);
    }

    private sealed class Stubborn(Func<Func<Task>, Task> body, Action onEnd) : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken) =>
            await body(async () => await EmitAsync(item, CancellationToken.None));

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
        {
            onEnd();
            return default;
        }
    }

    private sealed class EndsNever(Func<Task> onEnd) : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);

        protected override async ValueTask OnEndAsync(RunState outcome, Exception? cause) => await onEnd();
    }

    private sealed class StartsNever(Func<Task> onStart) : Runnable<int, int>
    {
        protected override async ValueTask OnStartAsync(CancellationToken cancellationToken) => await onStart();

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;
    }
}
