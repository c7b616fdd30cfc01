using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>The table of state × event of S2: what a run shows and how it ends, whatever happens in whatever order.</summary>
public sealed class OutcomeTests : LifecycleTest
{
    public enum Event
    {
        None,
        Complete,
        Cancel,
        Fault,
        StageFault,
    }

    public static TheoryData<Event, Event, Event, FaultMode> Sequences
    {
        get
        {
            var data = new TheoryData<Event, Event, Event, FaultMode>();
            Event[] events = Enum.GetValues<Event>();
            foreach (Event first in events.Where(static e => e != Event.None))
            {
                foreach (Event second in events)
                {
                    foreach (Event third in events.Where(t => second != Event.None || t == Event.None))
                    {
                        data.Add(first, second, third, FaultMode.DrainDownstream);
                        if (first == Event.StageFault || second == Event.StageFault || third == Event.StageFault)
                            data.Add(first, second, third, FaultMode.Abort);
                    }
                }
            }

            return data;
        }
    }

    [Theory] // S2, S4, S6, S22
    [MemberData(nameof(Sequences))]
    public async Task AfterAnySequence_StateAndOutcomeAreThoseOfTheFirstCause(Event first, Event second, Event third, FaultMode mode)
    {
        ExpectFailure();
        var holds = new Gate();
        var fail = new Gate();
        var inWork = new CountdownEvent(2);
        var handled = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>(new() { Name = "entry" })
                .Broadcast(
                    b => b.ForEach(
                        async _ =>
                        {
                            inWork.Signal();
                            await holds.WaitAsync();
                        },
                        new() { Name = "holding" }),
                    b => b.ForEach(
                        async (_, ct) =>
                        {
                            inWork.Signal();
                            try
                            {
                                await fail.WaitAsync(ct);
                            }
                            finally
                            {
                                handled.Open();
                            }

                            throw new FormatException("stage");
                        },
                        new() { Name = "failing" })),
            Options with { FaultMode = mode });
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => inWork.IsSet, "both branches work");
        Assert.Equal(RunState.Running, run.State);

        // What the rule says, played event by event.
        RunState? outcome = null;
        bool isDraining = false, isAborting = false;
        List<string> secondary = [];
        string? cause = null;
        foreach (Event e in (Event[])[first, second, third])
        {
            switch (e)
            {
                case Event.Complete:
                    run.Complete();
                    isDraining = true;
                    break;
                case Event.Cancel:
                    run.Cancel();
                    outcome ??= RunState.Canceled;
                    isAborting = true;
                    break;
                case Event.Fault:
                    run.Fault(new InvalidOperationException("outside"));
                    Propose("outside");
                    isAborting = true;
                    break;
                case Event.StageFault when !fail.IsOpen && !isAborting:
                    fail.Open();
                    await UntilFaultingAsync(run);
                    Propose("stage");
                    isAborting |= mode == FaultMode.Abort;
                    isDraining = true;
                    break;
            }

            // An abort fires the token of the one that looks at it: an echo.
            Assert.Equal(outcome switch
            {
                RunState.Canceled => RunState.Canceling,
                RunState.Faulted => RunState.Faulting,
                _ => isDraining ? RunState.Draining : RunState.Running,
            }, run.State);
            Assert.False(run.Completion.IsCompleted);
        }

        holds.Open();
        if (!isAborting && !fail.IsOpen)
        {
            fail.Open();
            Propose("stage");
        }

        PipelineReport report = await run.Report.Within();
        Assert.Equal(outcome, report.State);
        Assert.Equal(outcome, run.State);
        Assert.Equal(cause, report.Cause?.InnerException!.Message);
        Assert.Equal(secondary, report.SecondaryErrors.Select(static e => Assert.IsType<StageFaultedException>(e).InnerException!.Message));
        if (outcome == RunState.Canceled)
            Assert.True(run.Completion.IsCanceled);
        else
            Assert.Same(report.Cause, (await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion)));
        Assert.Equal(cause is null ? 0 : 1, Log.Records.Count(static r => r.EventId.Id == 4));

        // Nothing changes it any more.
        run.Complete();
        run.Cancel();
        run.Fault(new InvalidOperationException("late"));
        Assert.Equal(outcome, run.State);
        Assert.Equal(secondary.Count, (await run.Report).SecondaryErrors.Count);

        void Propose(string message)
        {
            if (outcome is null)
            {
                outcome = RunState.Faulted;
                cause = message;
            }
            else
            {
                secondary.Add(message);
            }
        }
    }

    [Fact] // S6, S2
    public async Task AnyNumberOfCallsAtOnce_FromAnyThread_LeaveOneOutcome()
    {
        ExpectFailure();
        for (int round = 0; round < 100; round++)
        {
            PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { BoundedCapacity = 2 })
                .Transform(static x => x, new() { Name = "work", MaxDegreeOfParallelism = 2, BoundedCapacity = 2 })
                .ForEach(static _ => { }, new() { Name = "sink" }));
            using var start = new Barrier(5);
            Action[] calls = [run.Complete, run.Cancel, () => run.Fault(new FormatException("1")), () => run.Fault(new FormatException("2"))];
            Task sending = Task.Run(
                async () =>
                {
                    start.SignalAndWait(TestToken);
                    for (int i = 0; ; i++)
                        await run.SendAsync(i, TestToken);
                },
                TestToken);
            await Task.WhenAll(calls.Select(call => Task.Factory.StartNew(
                () =>
                {
                    start.SignalAndWait(TestToken);
                    for (int i = 0; i < 3; i++)
                        call();
                },
                TestToken,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default))).Within();
            await Assert.ThrowsAsync<PipelineClosedException>(() => sending.Within());

            PipelineReport report = await run.Report.Within();
            Assert.Equal(report.State, run.State);
            Assert.Equal(report.State == RunState.Canceled, run.Completion.IsCanceled);
            Assert.Equal(report.State == RunState.Faulted, run.Completion.IsFaulted);
            Assert.Equal(report.State == RunState.Faulted, report.Cause is not null);
        }
    }

    [Theory] // S12, Puma 6, Puma 36
    [InlineData(Event.Complete, RunState.Draining, RunState.Completed)]
    [InlineData(Event.Cancel, RunState.Canceling, RunState.Canceled)]
    [InlineData(Event.Fault, RunState.Faulting, RunState.Faulted)]
    public async Task WithEverySlotTaken_AStagesEndAndACallAreRecordedAtOnce(Event call, RunState shown, RunState outcome)
    {
        ExpectFailure();
        var inWork = new Gate();
        var hold = new Gate();
        List<int> seen = [];

        // One slot each: the sink has 1, the work waits with 2, and there the source ends.
        PipelineRun run = Start(Pipeline.From([1, 2], new() { Name = "source" })
            .Transform(static x => x, new() { Name = "work", BoundedCapacity = 1 })
            .ForEach(
                async x =>
                {
                    inWork.Open();
                    await hold.WaitAsync();
                    seen.Add(x);
                },
                new() { Name = "sink", BoundedCapacity = 1 }));
        await run.Stage("source").Completion.Within();
        await UntilFullAsync(run);
        await inWork.WaitAsync();
        Assert.Equal(EndReason.InputEnded, run.Stage("source").EndReason);

        switch (call)
        {
            case Event.Cancel:
                run.Cancel();
                break;
            case Event.Fault:
                run.Fault(new FormatException());
                break;
            default:
                run.Complete();
                break;
        }

        Assert.Equal(shown, run.State);
        Assert.Equal(1, run.Snapshot().Stage("sink").SlotsHeld);
        Assert.False(run.Completion.IsCompleted);
        hold.Open();

        PipelineReport report = await run.Report.Within();
        Assert.Equal(outcome, report.State);
        if (call == Event.Complete)
            Assert.Equal([1, 2], seen);
        else
            Assert.Equal([1], seen);
        AssertCounts(report, "work", accepted: 2, delivered: call == Event.Complete ? 2 : 1, discarded: call == Event.Complete ? 0 : 1);
    }

    [Fact] // S3
    public async Task AFaultFromOutside_NamesNoStage_AndKeepsTheOriginalObject()
    {
        ExpectFailure();
        var original = new FormatException("mine");
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static _ => { }));
        run.Fault(original);

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Same(original, fault.InnerException);
        Assert.Equal((null, null, 0, Environment.ProcessId), (fault.Stage, fault.ItemNumber, fault.Attempt, fault.ProcessId));
        PipelineClosedException closed = await Assert.ThrowsAsync<PipelineClosedException>(() => run.SendAsync(1, TestToken).AsTask());
        Assert.Same(fault, closed.InnerException);
    }

    [Fact] // S4, S24: in the order of time
    public async Task SecondaryErrors_AreInTheOrderInWhichTheyHappened()
    {
        ExpectFailure();
        Gate[] gates = [new(), new(), new()];
        using var inWork = new CountdownEvent(3);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(
            b => b.ForEach(_ => FailAsync(0), new() { Name = "b0" }),
            b => b.ForEach(_ => FailAsync(1), new() { Name = "b1" }),
            b => b.ForEach(_ => FailAsync(2), new() { Name = "b2" })));
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => inWork.IsSet, "all branches work");
        run.Cancel();
        foreach (int i in (int[])[2, 0, 1])
        {
            gates[i].Open();
            await run.Stage($"b{i}").Completion.ContinueWith(static _ => { }, TestToken, TaskContinuationOptions.None, TaskScheduler.Default).Within();
        }

        PipelineReport report = await run.Report.Within();

        Assert.Equal(["2", "0", "1"], report.SecondaryErrors.Select(static e => e.InnerException!.Message));
        Assert.Equal(["b2", "b0", "b1"], report.SecondaryErrors.Cast<StageFaultedException>().Select(static e => e.Stage));

        async Task FailAsync(int i)
        {
            inWork.Signal();
            await gates[i].WaitAsync();
            throw new FormatException($"{i}");
        }
    }
}
