using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>User code that ends its process, under each loss policy: the ledger balances, nothing hangs, nothing is left.</summary>
public sealed class LossTests : ChildTest
{
    private const int Items = 200;
    private const int Bad = 77;

    private readonly List<DeadLetter<int>> _letters = [];

    public static TheoryData<ChaosKind, ChildExitReason> Deaths => new()
    {
        { ChaosKind.Exit0, ChildExitReason.ExitedEarly },
        { ChaosKind.Exit3, ChildExitReason.ExitedEarly },
        { ChaosKind.ThrowOnThread, ChildExitReason.UnhandledException },
        { ChaosKind.FailFast, ChildExitReason.FailFast },
        { ChaosKind.StackOverflow, ChildExitReason.StackOverflow },
        { ChaosKind.AccessViolation, ChildExitReason.AccessViolation },
        { ChaosKind.OutOfMemory, ChildExitReason.OutOfMemory },
        { ChaosKind.KillSelf, ChildExitReason.Killed },
        { ChaosKind.TerminateSelf, ChildExitReason.Killed },
        { ChaosKind.StopSelf, ChildExitReason.Hung },
        { ChaosKind.CloseFiles, ChildExitReason.ProtocolViolated },
        { ChaosKind.CorruptFrame, ChildExitReason.ProtocolViolated },
    };

    public static TheoryData<ChaosKind, int> DeathsAndParallelism
    {
        get
        {
            TheoryData<ChaosKind, int> data = [];
            foreach (TheoryDataRow<ChaosKind, ChildExitReason> row in Deaths)
            {
                data.Add(row.Data.Item1, 1);
                if (row.Data.Item1 is ChaosKind.KillSelf or ChaosKind.Exit0 or ChaosKind.FailFast)
                    data.Add(row.Data.Item1, 4);
            }

            return data;
        }
    }

    [Theory] // S36, S37, S30
    [MemberData(nameof(Deaths))]
    public async Task Fault_AChildThatDies_FaultsTheRun_AndSaysHow(ChaosKind kind, ChildExitReason reason)
    {
        ExpectLoss();
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(kind, Bad), LossPolicy.Fault, parallelism: 1);

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        var lost = Assert.IsType<ChildProcessLostException>(fault.InnerException);
        if (kind == ChaosKind.CloseFiles)
        {
            // The runtime may notice first, in its own way; a thread that cannot be made is "out of memory" to it.
            Assert.Contains(lost.Exit.Reason, (ChildExitReason[])[reason, ChildExitReason.AccessViolation, ChildExitReason.Crashed, ChildExitReason.OutOfMemory]);
        }
        else
        {
            Assert.Equal(reason, lost.Exit.Reason);
        }

        if (kind == ChaosKind.StopSelf)
            Assert.Contains("no sign of life within HangTimeout (00:00:02)", lost.Exit.Description, StringComparison.Ordinal);
        Assert.Equal(("chaos", Bad), (fault.Stage, fault.ItemNumber));
        if (kind is ChaosKind.KillSelf or ChaosKind.Exit0 or ChaosKind.FailFast)
            Assert.Equal(Bad, lost.Exit.ItemNumber);
        AssertPrefix(seen);
        PipelineReport report = await run.Report;
        Assert.Equal((1, 0), (report.Stage("chaos").Failed, report.Stage("chaos").Restarts));
    }

    public static TheoryData<ChaosKind, bool, FaultMode> DeathsInAPool
    {
        get
        {
            TheoryData<ChaosKind, bool, FaultMode> data = [];
            foreach (ChaosKind kind in (ChaosKind[])[ChaosKind.KillSelf, ChaosKind.Exit0, ChaosKind.CorruptFrame])
            {
                foreach (FaultMode mode in Enum.GetValues<FaultMode>())
                {
                    data.Add(kind, true, mode);
                    data.Add(kind, false, mode);
                }
            }

            return data;
        }
    }

    [Theory] // S36, S18: what the dead child was given before the guilty item keeps nobody waiting
    [MemberData(nameof(DeathsInAPool))]
    public async Task Fault_OneChildOfAPoolThatDies_EndsTheRun(ChaosKind kind, bool isOrdered, FaultMode mode)
    {
        ExpectLoss();
        for (int round = 0; round < 3; round++)
        {
            List<int> seen = [];
            PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, Items))
                .Then(static o => new Chaos(o), new ChaosOptions(kind, Bad), new() { Name = "chaos", Placement = Isolated(LossPolicy.Fault), MaxDegreeOfParallelism = 4, EnsureOrdered = isOrdered })
                .ForEach(seen.Add), Options with { FaultMode = mode });

            StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

            Assert.Equal(("chaos", Bad), (fault.Stage, fault.ItemNumber));
            Assert.IsType<ChildProcessLostException>(fault.InnerException);
            Assert.Equal(seen.Distinct(), seen);
            Assert.DoesNotContain(Bad * 2, seen);
            if (isOrdered)
                Assert.Equal(seen.Order(), seen);
        }
    }

    [Theory] // S35, S36: those that threw and those that ended with the child
    [InlineData(1)]
    [InlineData(2)]
    public async Task DeadLetter_OfAnItemThatWasRetriedBefore_CountsAllItsAttempts(int guiltLimit)
    {
        ExpectLoss();
        List<DeadLetter<int>> letters = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Then(static () => new FailsThenDies(), new()
            {
                Name = "chaos",
                Placement = Isolated(guiltLimit == 1 ? Restart().DeadLetter() : Restart().Replay(guiltLimit)),
                ErrorPolicy = ErrorPolicy.Retry(4).Then(ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) =>
                {
                    letters.Add(letter);
                    return default;
                })),
            })
            .ForEach(static _ => { }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal((2, 1 + guiltLimit), (Assert.Single(letters).Item, letters[0].Attempts));
        Assert.Equal((2, 1, guiltLimit), (report.Stage("chaos").Delivered, report.Stage("chaos").DeadLettered, report.Stage("chaos").Restarts));
    }

    /// <summary>Throws at the first attempt at item 2, and ends its process at every other.</summary>
    private sealed class FailsThenDies : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (item == 2)
            {
                if (Context.Attempt == 1)
                    throw new FormatException();
                Environment.Exit(0);
            }

            return EmitAsync(item, cancellationToken);
        }
    }

    [Theory] // S36: the first child is a child like any other
    [InlineData(ChaosKind.CrashInConstructor)]
    [InlineData(ChaosKind.CrashInStart)]
    public async Task Restart_ADeathAtTheFirstStart_IsALossToo(ChaosKind kind)
    {
        ExpectLoss();
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(kind, 0, Once()), Restart().Replay(), parallelism: 2);

        await run.Started.Within();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, Items).Select(static x => x * 2), seen);
        Assert.Equal(1, report.Stage("chaos").Restarts);
    }

    [Fact] // S36
    public async Task Restart_AStartThatAlwaysDies_FailsTheStart_WhenTheBudgetIsSpent()
    {
        ExpectLoss();
        (PipelineRun run, _) = Start(new ChaosOptions(ChaosKind.CrashInStart, 0), LossPolicy.Restart(max: 2, backoff: Backoff.None), parallelism: 1);

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Started.Within());

        Assert.Contains("restarted 2 times", fault.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
    }

    [Theory] // S36: the item that kills every child that handles it
    [MemberData(nameof(DeathsAndParallelism))]
    public async Task DeadLetter_APoisonItem_IsTheOnlyOneLost(ChaosKind kind, int parallelism)
    {
        ExpectLoss();
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(kind, Bad), Restart().DeadLetter(), parallelism);

        PipelineReport report = await run.Completion.Within();

        AssertAll(Enumerable.Range(1, Items).Where(static x => x != Bad), seen, report);
        DeadLetter<int> letter = Assert.Single(_letters);
        Assert.Equal((Bad, 1), (letter.Item, letter.Attempts));
        Assert.IsType<ChildProcessLostException>(letter.Error);
        Assert.Equal((Items - 1, 1, 1), (report.Stage("chaos").Delivered, report.Stage("chaos").DeadLettered, report.Stage("chaos").Restarts));
    }

    [Theory] // S36: the next child is well
    [MemberData(nameof(DeathsAndParallelism))]
    public async Task Replay_ADeathThatDoesNotRepeat_LosesNothing(ChaosKind kind, int parallelism)
    {
        ExpectLoss();
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(kind, Bad, Once()), Restart().Replay(), parallelism);

        PipelineReport report = await run.Completion.Within();

        AssertAll(Enumerable.Range(1, Items), seen, report);
        Assert.Empty(_letters);
        Assert.Equal((Items, 1), (report.Stage("chaos").Delivered, report.Stage("chaos").Restarts));
    }

    [Fact] // S36, S31: outputs of a one-to-many item may repeat and are counted, a one-to-one result never does
    public async Task Replay_OutputsThatWerePassedOnBefore_AreCounted()
    {
        ExpectLoss();
        List<int> seen = [];
        string once = Once();
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Then(static o => new Repeating(o), new ChaosOptions(ChaosKind.KillSelf, 2, once), new() { Name = "chaos", Placement = Isolated(Restart().Replay()), ErrorPolicy = ToLetters() })
            .ForEach(
                x =>
                {
                    seen.Add(x);
                    if (x == 21)
                        File.Delete(once);
                },
                new() { Name = "sink" }));

        PipelineReport report = await run.Completion.Within();

        StageReport stage = report.Stage("chaos");
        Assert.Equal([10, 11, 12], seen.Where(static x => x / 10 == 1));
        Assert.Equal([20, 21, 22], seen.Where(static x => x / 10 == 2).Distinct());
        Assert.Equal((3, 1, seen.Count), (stage.Delivered, stage.Restarts, stage.Emitted));
        Assert.Equal((11, 2), (seen.Count, stage.Repeated));
    }

    [Fact] // S36
    public async Task Replay_AnItemGuiltyTooOften_IsPoison()
    {
        ExpectLoss();
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(ChaosKind.KillSelf, Bad), Restart().Replay(attempts: 3), parallelism: 1);

        PipelineReport report = await run.Completion.Within();

        AssertAll(Enumerable.Range(1, Items).Where(static x => x != Bad), seen, report);
        Assert.Equal((Bad, 3), (_letters.Single().Item, report.Stage("chaos").Restarts));
    }

    [Fact] // S36: poison without a target is a fault
    public async Task Replay_PoisonWithoutATarget_FaultsTheRun()
    {
        ExpectLoss();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, Items))
            .Then(static o => new Chaos(o), new ChaosOptions(ChaosKind.KillSelf, Bad), new() { Name = "chaos", Placement = Isolated(Restart().Replay()) })
            .ForEach(seen.Add));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Contains("no dead-letter target", fault.Message, StringComparison.Ordinal);
        AssertPrefix(seen);
    }

    [Fact] // S36
    public async Task Restart_MoreOftenThanAllowed_FaultsTheRun()
    {
        ExpectLoss();
        (PipelineRun run, _) = Start(new ChaosOptions(ChaosKind.CrashAtComplete, 0), LossPolicy.Restart(max: 2, backoff: Backoff.None), parallelism: 1);

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Contains("restarted 2 times", fault.Message, StringComparison.Ordinal);
        Assert.Equal(2, (await run.Report).Stage("chaos").Restarts);
    }

    [Theory] // S37, S14: a child that dies before it has started
    [InlineData(ChaosKind.CrashInConstructor)]
    [InlineData(ChaosKind.CrashInStart)]
    public async Task ADeathAtTheStart_FailsTheStart_AndNothingIsRead(ChaosKind kind)
    {
        ExpectLoss();
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(kind, 0), LossPolicy.Fault, parallelism: 1);

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Started.Within());
        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(ChildExitReason.Killed, Assert.IsType<ChildProcessLostException>(fault.InnerException).Exit.Reason);
        Assert.Empty(seen);
    }

    [Fact] // S20: everything was handled, so the loss is a secondary error
    public async Task ADeathAtTheEnd_IsASecondaryError()
    {
        ExpectLoss();
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(ChaosKind.CrashAtEnd, 0), LossPolicy.Fault, parallelism: 1);

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Items, seen.Count);
        Assert.IsType<ChildProcessLostException>(Assert.Single(report.SecondaryErrors).InnerException);
    }

    public static TheoryData<ChaosKind, LossPolicy> HarmlessUnderEachPolicy
    {
        get
        {
            TheoryData<ChaosKind, LossPolicy> data = [];
            foreach (ChaosKind kind in (ChaosKind[])[ChaosKind.UnobservedTask, ChaosKind.FloodLog, ChaosKind.FloodOutput, ChaosKind.HugeLog, ChaosKind.ManyFiles, ChaosKind.GrandchildHoldsOutput, ChaosKind.GrandchildLeavesGroup])
            {
                foreach (LossPolicy policy in (LossPolicy[])[LossPolicy.Fault, Restart().Replay(), Restart().DeadLetter()])
                    data.Add(kind, policy);
            }

            return data;
        }
    }

    [Theory] // S38, S36: what harms no process is no loss
    [MemberData(nameof(HarmlessUnderEachPolicy), DisableDiscoveryEnumeration = true)]
    public async Task AChildThatLives_LosesNothing(ChaosKind kind, LossPolicy policy)
    {
        if (kind == ChaosKind.FloodOutput)
            Expect(45);
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(kind, Bad), policy, parallelism: 1);

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, Items).Select(static x => x * 2), seen);
        Assert.Equal(0, report.Stage("chaos").Restarts);
    }

    public static TheoryData<LossPolicy> EachPolicy => [LossPolicy.Fault, Restart().Replay(), Restart().DeadLetter()];

    [Theory] // S36: an exception of user code is a result; only the loss of the process is a loss
    [MemberData(nameof(EachPolicy), DisableDiscoveryEnumeration = true)]
    public async Task AnException_IsAnItemError_WhateverTheLossPolicy(LossPolicy policy)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, Items))
            .Then(static o => new Chaos(o), new ChaosOptions(ChaosKind.Throw, Bad), new() { Name = "chaos", Placement = Isolated(policy), ErrorPolicy = ToLetters() })
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal((Bad, 1), (_letters.Single().Item, _letters.Single().Attempts));
        Assert.IsType<RemoteRunnableException>(_letters.Single().Error);
        Assert.Equal((Items - 1, 0), (seen.Count, report.Stage("chaos").Restarts));
    }

    [Fact] // S3, S36: an exception of any size is a result, no loss
    public async Task AHugeException_IsAnItemError()
    {
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(ChaosKind.HugeException, Bad), LossPolicy.Fault, parallelism: 1);

        await run.Completion.Within();

        Assert.Equal(Items - 1, seen.Count);
        var error = Assert.IsType<RemoteRunnableException>(_letters.Single().Error);
        Assert.True(error.Is<FormatException>());
        Assert.InRange(error.Message.Length, 1, 16 * 1024);
    }

    [Theory] // S26, S36: a handler that never returns
    [InlineData(ChaosKind.SleepForever, 1)]
    [InlineData(ChaosKind.SleepForever, 2)]
    [InlineData(ChaosKind.Spin, 1)]
    [InlineData(ChaosKind.Spin, 2)]
    public async Task ItemTimeout_AHandlerThatNeverReturns_IsKilled_AndItsItemIsPoison(ChaosKind kind, int guiltLimit)
    {
        ExpectLoss();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, Items))
            .Then(static o => new Chaos(o), new ChaosOptions(kind, Bad), new()
            {
                Name = "chaos",
                Placement = Isolated(guiltLimit == 1 ? Restart().DeadLetter() : Restart().Replay(guiltLimit)),
                ItemTimeout = TimeSpan.FromMilliseconds(500),
                ErrorPolicy = ToLetters(),
            })
            .ForEach(seen.Add), Options with { AbortTimeout = TimeSpan.FromMilliseconds(500) });

        PipelineReport report = await run.Completion.Within();

        Assert.Equal((Items - 1, guiltLimit), (seen.Count, report.Stage("chaos").Restarts));
        Assert.Equal(ChildExitReason.Hung, Assert.IsType<ChildProcessLostException>(_letters.Single().Error).Exit.Reason);
    }

    [Theory] // S26, S36
    [InlineData(ChaosKind.SleepForever)]
    [InlineData(ChaosKind.Spin)]
    public async Task ItemTimeout_AHandlerThatNeverReturns_FaultsTheRun_WithoutARestart(ChaosKind kind)
    {
        ExpectLoss();
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, Items))
            .Then(static o => new Chaos(o), new ChaosOptions(kind, Bad), new() { Name = "chaos", Placement = Isolated(LossPolicy.Fault), ItemTimeout = TimeSpan.FromMilliseconds(500) })
            .ForEach(static _ => { }), Options with { AbortTimeout = TimeSpan.FromMilliseconds(500) });

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("chaos", (long?)Bad), (fault.Stage, fault.ItemNumber));
        ChildExit exit = Assert.IsType<ChildProcessLostException>(fault.InnerException).Exit;
        Assert.Equal(ChildExitReason.Hung, exit.Reason);
        Assert.Contains("AbortTimeout (00:00:00.5000000) after its ItemTimeout (00:00:00.5000000)", exit.Description, StringComparison.Ordinal);
        Assert.DoesNotContain("HangTimeout", exit.Description, StringComparison.Ordinal);
    }

    [Fact] // S27, S39
    public async Task Cancel_AChildThatIgnoresIt_IsKilledAfterItsGrace()
    {
        ExpectLoss();
        Expect(12);
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(ChaosKind.SleepForever, Bad), LossPolicy.Fault, parallelism: 1);
        await Waiting.UntilAsync(() => seen.Count == Bad - 1, "the item before the bad one has arrived");

        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        Assert.Contains((await run.Report).SecondaryErrors, static e => e.InnerException is ChildProcessLostException { Exit.Reason: ChildExitReason.StopTimedOut });
    }

    [Fact] // S9, S25, S39: a runnable that never completes is ended by the deadline
    public async Task StopAsync_ARunnableThatNeverCompletes_IsKilled()
    {
        ExpectLoss();
        Expect(12);
        (PipelineRun run, List<int> seen) = Start(new ChaosOptions(ChaosKind.NeverComplete, 0), LossPolicy.Fault, parallelism: 1);
        await Waiting.UntilAsync(() => seen.Count == Items, "all items have arrived");

        await run.StopAsync(TimeSpan.Zero).Within();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        Assert.Equal(Items, (await run.Report).Stage("chaos").Delivered);
    }

    /// <summary>Makes three outputs of each item; at the bad one it waits until two have arrived, which takes the file away, and kills its process.</summary>
    private sealed class Repeating(ChaosOptions options) : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            // Before the outputs: the sink takes the file away when it has seen the second one.
            bool isTime = item == options.At && File.Exists(options.OncePath);
            await EmitAsync(item * 10, cancellationToken);
            await EmitAsync((item * 10) + 1, cancellationToken);
            if (isTime)
            {
                while (File.Exists(options.OncePath))
                    await Task.Delay(10, cancellationToken);
                Environment.FailFast("chaos");
            }

            await EmitAsync((item * 10) + 2, cancellationToken);
        }
    }

    private static RestartPolicy Restart() => LossPolicy.Restart(max: 10, backoff: Backoff.None);

    private static ChildProcessPlacement Isolated(LossPolicy policy) => Placement.ChildProcess with
    {
        OnLoss = policy,
        StateLoss = StateLoss.Accepted,
        MemoryLimit = 200 * 1024 * 1024,
        HangTimeout = TimeSpan.FromSeconds(2),
        StopGrace = TimeSpan.FromSeconds(1),
    };

    private void ExpectLoss()
    {
        ExpectFailure();
        Expect(40);
    }

    private (PipelineRun Run, List<int> Seen) Start(ChaosOptions chaos, LossPolicy policy, int parallelism)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, Items))
            .Then(static o => new Chaos(o), chaos, new()
            {
                Name = "chaos",
                Placement = Isolated(policy),
                MaxDegreeOfParallelism = parallelism,
                ErrorPolicy = chaos.Kind is ChaosKind.HugeException || policy is RestartPolicy ? ToLetters() : ErrorPolicy.Fault,
            })
            .ForEach(seen.Add, new() { Name = "sink" }));
        return (run, seen);
    }

    private ErrorPolicy ToLetters() => ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) =>
    {
        _letters.Add(letter);
        return default;
    });

    /// <summary>What arrived is the beginning, in order; how far the child had told of it is not the test's affair.</summary>
    /// <summary>All outputs have arrived, in order. Of an item whose output was passed on, and whose end the child that died did not tell any more, it came twice.</summary>
    private static void AssertAll(IEnumerable<int> items, List<int> seen, PipelineReport report)
    {
        Assert.Equal(items.Select(static x => x * 2), seen.Distinct());
        Assert.Equal(report.Stage("chaos").Repeated, seen.Count - seen.Distinct().Count());
    }

    private static void AssertPrefix(List<int> seen)
    {
        Assert.InRange(seen.Count, 0, Bad - 1);
        Assert.Equal(Enumerable.Range(1, seen.Count).Select(static x => x * 2), seen);
    }
}
