using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>The clock of one item hit another one, counted the wait for a slot, and let a stage go on that was being left behind.</summary>
public sealed class ItemClockTests : LifecycleTest
{
    [Theory] // S26
    [InlineData(1)]
    [InlineData(2)]
    public async Task CallbackOfAnEarlierItem_LeavesTheNextOneItsTime(int parallelism)
    {
        var time = new LateTimers(Time);
        var started = new Gate();
        CancellationToken given = default;
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().ForEach(
                async (x, ct) =>
                {
                    if (x == 1)
                        return;
                    given = ct;
                    started.Open();
                    await new Gate().WaitAsync(ct);
                },
                new() { Name = "work", ItemTimeout = TimeSpan.FromSeconds(3), ErrorPolicy = ErrorPolicy.Skip, MaxDegreeOfParallelism = parallelism }),
            FakeTimeOptions with { TimeProvider = time });
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work").Delivered == 1, "the first item is handled");
        await run.SendAsync(2, TestToken);
        await started.WaitAsync();
        Time.Advance(TimeSpan.FromSeconds(1));

        time.CallAll();

        Assert.False(given.IsCancellationRequested);
        Time.Advance(TimeSpan.FromSeconds(1.9));
        Assert.False(given.IsCancellationRequested);
        Time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.True(given.IsCancellationRequested);
        run.Complete();
        AssertCounts(await run.Completion.Within(), "work", accepted: 2, delivered: 1, skipped: 1);
    }

    [Theory] // S26: on a busy machine a timer fires late
    [InlineData(1)]
    [InlineData(2)]
    public async Task HandlerThatReturnsAfterItsTime_HasFailed_ThoughNoTimerHasFired(int parallelism)
    {
        var started = new Gate();
        var handler = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().ForEach(
                async _ =>
                {
                    started.Open();
                    await handler.WaitAsync();
                },
                new() { Name = "work", ItemTimeout = TimeSpan.FromSeconds(3), ErrorPolicy = ErrorPolicy.Skip, MaxDegreeOfParallelism = parallelism }),
            FakeTimeOptions with { TimeProvider = new LateTimers(Time, areStuck: true) });
        await run.SendAsync(1, TestToken);
        await started.WaitAsync();
        Time.Advance(TimeSpan.FromSeconds(3));
        handler.Open();
        run.Complete();

        AssertCounts(await run.Completion.Within(), "work", accepted: 1, skipped: 1);
    }

    [Fact] // S26
    public async Task TimeForWhichAnEmitWaitsForASlot_IsNotTheHandlers()
    {
        var sink = new Gate();
        var emitted = new Gate();
        var handler = new Gate();
        CancellationToken given = default;
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>()
                .Then(
                    () => new EmitsTwice(async ct =>
                    {
                        given = ct;
                        emitted.Open();
                        await handler.WaitAsync(ct);
                    }),
                    new() { Name = "work", ItemTimeout = TimeSpan.FromSeconds(3) })
                .ForEach(async _ => await sink.WaitAsync(), new() { Name = "sink", BoundedCapacity = 1 }),
            FakeTimeOptions);
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work").Activity == StageActivity.WaitingForOutput, "the second output waits");
        Time.Advance(TimeSpan.FromSeconds(10));
        sink.Open();
        await emitted.WaitAsync();

        Assert.False(given.IsCancellationRequested);
        Time.Advance(TimeSpan.FromSeconds(2.9));
        Assert.False(given.IsCancellationRequested);
        handler.Open();
        run.Complete();
        AssertCounts(await run.Completion.Within(), "work", accepted: 1, delivered: 1);
    }

    [Fact] // S26, S30
    public async Task HandlerThatReturnsWhileItsStageIsLeftBehind_LetsNoOtherItemStart()
    {
        ExpectFailure();
        Expect(12);
        Gate started = new(), deciding = new(), decided = new(), handler = new(), returning = new();
        bool hasHandledSecond = false;
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().ForEach(
                async x =>
                {
                    hasHandledSecond |= x == 2;
                    started.Open();
                    await handler.WaitAsync();
                    returning.Open();
                },
                new() { Name = "work", ItemTimeout = TimeSpan.FromSeconds(3), ErrorPolicy = ErrorPolicy.Skip }),
            FakeTimeOptions with
            {
                LoggerFactory = new HookedLog(Log, (_, id) =>
                {
                    // The cause is logged before the stage is told to give up.
                    if (id != 4)
                        return;
                    deciding.Open();
                    decided.Block();
                }),
            });
        await run.SendAsync(1, TestToken);
        await run.SendAsync(2, TestToken);
        await started.WaitAsync();
        Time.Advance(TimeSpan.FromSeconds(3));
        Task advancing = Task.Run(() => Time.Advance(TimeSpan.FromSeconds(5)), TestToken);
        await deciding.WaitAsync();
        handler.Open();
        await returning.WaitAsync();

        // Time for a stage that does not wait to do what it must not.
        for (int i = 0; i < 10_000; i++)
            await Task.Yield();
        decided.Open();
        await advancing.Within();
        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.False(hasHandledSecond);
        AssertCounts(await run.Report, "work", accepted: 2, discarded: 1, abandoned: 1);
    }

    private sealed class EmitsTwice(Func<CancellationToken, Task> then) : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await EmitAsync(item, cancellationToken);
            await EmitAsync(item, cancellationToken);
            await then(cancellationToken);
        }
    }
}
