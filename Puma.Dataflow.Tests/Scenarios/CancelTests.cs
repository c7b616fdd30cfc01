using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>How a run ends when it is cancelled, stopped or disposed.</summary>
public sealed class CancelTests : LifecycleTest
{
    [Fact] // S21, S30
    public async Task Cancel_WithAllLinksFull_DiscardsEverything_AndThrowsTheCallersToken()
    {
        ExpectFailure();
        using var caller = new CancellationTokenSource();
        var hold = new Gate();
        PipelineRun run = Watch(Pipeline.From(FaultTests.Naturals(), new() { Name = "source" })
            .Transform(static x => x, new() { Name = "work", BoundedCapacity = 2 })
            .ForEach(async (_, ct) => await hold.WaitAsync(ct), new() { Name = "sink", BoundedCapacity = 2 })
            .Build(Options).Start(caller.Token));
        await UntilFullAsync(run);
        await caller.CancelAsync();

        OperationCanceledException canceled = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());

        Assert.Equal(caller.Token, canceled.CancellationToken);
        Assert.True(run.Completion.IsCanceled);
        PipelineReport report = await run.Report;
        Assert.Equal((RunState.Canceled, RunState.Canceled), (report.State, run.State));
        Assert.Null(report.Cause);
        Assert.Empty(report.SecondaryErrors);
        AssertCounts(report, "work", accepted: 4, delivered: 2, discarded: 2);
        AssertCounts(report, "sink", accepted: 2, discarded: 2);
        Assert.All(report.Stages, static s => Assert.Equal((s.Name, StageState.Canceled, EndReason.Canceled), (s.Name, s.State, s.EndReason)));
        Assert.All(Discarded, static d => Assert.Equal(DiscardReason.Canceled, d.Reason));
    }

    [Fact] // S23, S22
    public async Task CancelAfterComplete_WithUnreadOutput_EndsCanceled()
    {
        ExpectFailure();
        (PipelineRun run, IReceivableSourceBlock<int> exit) = StartWithExit(Pipeline.From(Enumerable.Range(1, 10), new() { Name = "source" }).Transform(static x => x, new() { Name = "work" }));
        await Waiting.UntilAsync(() => run.Stage("work").State == StageState.Completed, "all is in the exit");
        run.Complete();
        Assert.Equal(RunState.Draining, run.State);
        Assert.False(run.Completion.IsCompleted);

        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => exit.Completion.Within());
        AssertCounts(await run.Report, "exit", accepted: 10, discarded: 10);
        Assert.False(exit.TryReceive(out _));
    }

    [Fact] // S23, S22: whatever the exit had given away stays given
    public async Task CancelAfterComplete_WithPartlyReadOutput_CountsBoth()
    {
        ExpectFailure();
        (PipelineRun run, IReceivableSourceBlock<int> exit) = StartWithExit(Pipeline.From(Enumerable.Range(1, 10)).Transform(static x => x, new() { Name = "work" }));
        for (int i = 1; i <= 4; i++)
            Assert.Equal(i, await exit.ReceiveAsync(TestToken).Within());
        await Waiting.UntilAsync(() => run.Stage("work").State == StageState.Completed, "all is in the exit");
        run.Complete();
        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        AssertCounts(await run.Report, "exit", accepted: 10, delivered: 4, discarded: 6);
    }

    [Fact] // S24
    public async Task AGenuineExceptionWhileCancelling_IsASecondaryError_AndAnEchoIsNot()
    {
        ExpectFailure();
        var started = new CountdownEvent(2);
        PipelineRun run = Start(Pipeline.From([1], new() { Name = "source" })
            .Broadcast(
                b => b.ForEach(
                    async (_, ct) =>
                    {
                        started.Signal();
                        await new Gate().WaitAsync(ct);
                    },
                    new() { Name = "echo" }),
                b => b.ForEach(
                    async (_, ct) =>
                    {
                        started.Signal();
                        try
                        {
                            await new Gate().WaitAsync(ct);
                        }
                        catch (OperationCanceledException)
                        {
                            throw new FormatException("genuine");
                        }
                    },
                    new() { Name = "genuine" })));
        await Waiting.UntilAsync(() => started.IsSet, "both handlers run");
        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());

        PipelineReport report = await run.Report;
        var error = Assert.IsType<StageFaultedException>(Assert.Single(report.SecondaryErrors));
        Assert.Equal(("genuine", "genuine"), (error.Stage, error.InnerException!.Message));
        AssertCounts(report, "genuine", accepted: 1, discarded: 1);
        AssertCounts(report, "echo", accepted: 1, discarded: 1);
    }

    [Fact] // S24: also from a tick of a pool, whose failures are not an item's
    public async Task AGenuineExceptionOfATickWhileCancelling_IsASecondaryError()
    {
        ExpectFailure();
        var ticking = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>()
                .To(() => new FailingTicker(ticking), new() { Name = "ticker", MaxDegreeOfParallelism = 2, TickInterval = TimeSpan.FromSeconds(1) }),
            FakeTimeOptions);
        await run.Started.Within();
        Time.Advance(TimeSpan.FromSeconds(1));
        await ticking.WaitAsync();
        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());

        PipelineReport report = await run.Report;
        Assert.NotEmpty(report.SecondaryErrors);
        Assert.All(report.SecondaryErrors, static e => Assert.Equal(("ticker", "tick"), (Assert.IsType<StageFaultedException>(e).Stage, e.InnerException!.Message)));
    }

    [Fact] // S50
    public async Task DisposeRightAfterStart_EndsTheRun()
    {
        ExpectFailure();
        for (int round = 0; round < 50; round++)
        {
            PipelineRun run = Start(Pipeline.From(FaultTests.Naturals(), new() { Name = "source" })
                .Transform(static x => x, new() { Name = "work", MaxDegreeOfParallelism = 1 + (round % 3) })
                .Batch(3)
                .ForEach(static _ => { }));
            await run.DisposeAsync().Within();

            Assert.Equal(RunState.Canceled, run.State);
            Assert.True(run.Completion.IsCanceled);
            Assert.True(run.Started.IsCompleted);
        }
    }

    [Fact] // S50: it hides no exception in flight
    public async Task Dispose_NeverThrows_AlsoNotAfterAFault()
    {
        ExpectFailure();
        await Assert.ThrowsAsync<StageFaultedException>(async () =>
        {
            await using PipelineRun run = Start(Pipeline.From([1]).ForEach(static _ => throw new FormatException()));
            await run.Completion.Within();
        });
    }

    [Fact] // S50: a pipeline that was never started holds nothing
    public void APipelineThatIsNeverStarted_MakesAndReadsNothing()
    {
        int made = 0;
        _ = Pipeline.From(Enumerable.Range(1, 3).Select(_ => ++made))
            .Then(() =>
            {
                made++;
                return new Ending([]);
            })
            .ForEach(static _ => { })
            .Build(Options);

        Assert.Equal(0, made);
    }

    [Fact] // S25, S2
    public async Task StopAsync_ThatDrainsInTime_EndsCompleted()
    {
        var gate = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(async _ => await gate.WaitAsync(), new() { Name = "sink" }), FakeTimeOptions);
        await run.SendAsync(1, TestToken);
        await run.SendAsync(2, TestToken);
        Task<PipelineReport> stopping = run.StopAsync(TimeSpan.FromSeconds(10));
        await Assert.ThrowsAsync<PipelineClosedException>(() => run.SendAsync(3, TestToken).AsTask());
        Assert.Equal(RunState.Draining, run.State);
        Time.Advance(TimeSpan.FromSeconds(9));
        Assert.False(stopping.IsCompleted);
        gate.Open();

        PipelineReport report = await stopping.Within();

        Assert.Equal(RunState.Completed, report.State);
        AssertCounts(report, "sink", accepted: 2, delivered: 2);
    }

    [Fact] // S25
    public async Task StopAsync_CancelsAtTheDeadline_AndAbandonsOneAbortTimeoutLater()
    {
        ExpectFailure();
        Expect(12);
        var never = new Gate();
        var started = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>(new() { Name = "entry" }).ForEach(
                async _ =>
                {
                    started.Open();
                    await never.WaitAsync();
                },
                new() { Name = "sink" }),
            FakeTimeOptions with { AbortTimeout = TimeSpan.FromSeconds(5) });
        await run.SendAsync(1, TestToken);
        await run.SendAsync(2, TestToken);
        await started.WaitAsync();
        Task<PipelineReport> stopping = run.StopAsync(TimeSpan.FromSeconds(10));

        Time.Advance(TimeSpan.FromSeconds(9.9));
        Assert.Equal(RunState.Draining, run.State);
        Time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.Equal(RunState.Canceling, run.State);
        await Waiting.UntilAsync(() => run.Stage("entry").Completion.IsCompleted, "only the stuck stage is left");
        Time.Advance(TimeSpan.FromSeconds(4.9));
        Assert.False(stopping.IsCompleted);
        Time.Advance(TimeSpan.FromSeconds(0.1));

        PipelineReport report = await stopping.Within();
        Assert.Equal(RunState.Canceled, report.State);
        Assert.Equal(["sink"], report.Abandoned);
        AssertCounts(report, "sink", accepted: 2, discarded: 1, abandoned: 1);
        never.Open();
    }

    [Theory] // S20
    [InlineData(1)]
    [InlineData(3)]
    public async Task OnEnd_RunsOnceForEachInstance_WithOutcomeAndCause(int parallelism)
    {
        ExpectFailure();
        foreach (RunState expected in (RunState[])[RunState.Completed, RunState.Canceled, RunState.Faulted])
        {
            List<(RunState, Exception?)> ended = [];
            PipelineRun<int> run = Start(Pipeline.Accept<int>()
                .Then(() => new Ending(ended), new() { Name = "work", MaxDegreeOfParallelism = parallelism })
                .ForEach(static _ => { }, new() { Name = "sink" }));
            await run.Started.Within();
            await run.SendAsync(1, TestToken);
            var error = new FormatException();
            switch (expected)
            {
                case RunState.Canceled:
                    run.Cancel();
                    break;
                case RunState.Faulted:
                    run.Fault(error);
                    break;
                default:
                    run.Complete();
                    break;
            }

            PipelineReport report = await run.Report.Within();

            Assert.Equal(expected, report.State);
            lock (ended)
                Assert.Equal(Enumerable.Repeat<(RunState, Exception?)>((expected, report.Cause), parallelism), ended);
            Assert.Same(expected == RunState.Faulted ? error : null, report.Cause?.InnerException);
            Assert.Empty(report.SecondaryErrors);
        }
    }

    private sealed class Ending(List<(RunState, Exception?)> ended) : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
        {
            lock (ended)
                ended.Add((outcome, cause));
            return default;
        }
    }

    private sealed class FailingTicker(Gate ticking) : SinkRunnable<int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;

        protected override async ValueTask OnTickAsync(CancellationToken cancellationToken)
        {
            ticking.Open();
            try
            {
                await new Gate().WaitAsync(cancellationToken);
            }
            catch (OperationCanceledException)
            {
                throw new FormatException("tick");
            }
        }
    }
}
