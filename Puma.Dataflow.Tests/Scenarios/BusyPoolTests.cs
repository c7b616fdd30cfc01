using Puma.Dataflow.Buffers;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>
/// Of items that take some microseconds the stream learns after several, on the thread of an instance. Whoever waits for what came of one of
/// them is not kept waiting, whatever user code does to that thread. (What is inherited holds however the stream learns of them.)
/// </summary>
public sealed class BusyPoolTests() : ShortItemPoolContract(microseconds: 5)
{
    /// <summary>Nearly all that two instances have ready.</summary>
    private const int Behind = 59;

    private static readonly StageOptions s_two = Pool with { MaxDegreeOfParallelism = 2 };

    [Fact]
    public Task TheStream_GoesOnOnTheThreadOfAnInstance() => UntilItIsSeenAsync(async () =>
    {
        bool isUntold = false, isTold = false;
        await Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(
                x =>
                {
                    Work();
                    if (Turn.Here is { Owes: true })
                        Volatile.Write(ref isUntold, true);
                    return x;
                },
                s_two)
            .ForEach(_ => { isTold |= Turn.Here is { Owes: true }; })).Completion.Within();
        return isUntold && isTold;
    });

    [Theory] // S34
    [InlineData(true)]
    [InlineData(false)]
    public Task AnItemThatBlocks_UntilTheOneBeforeItHasArrived_IsNotHeldUp(bool isOrdered) => UntilItIsSeenAsync(async () =>
    {
        int blocked = 0, last = int.MaxValue;
        var arrived = new bool[Items + 1];
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(
                x =>
                {
                    Work();
                    if (x % 1000 == 0 && Turn.Here is { Owes: true })
                        Volatile.Write(ref last, x - 1);

                    // So does the other instance, which would tell the stream else.
                    if (Volatile.Read(ref last) is var before && x > before)
                    {
                        Interlocked.Increment(ref blocked);
                        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref arrived[before]), Waiting.Limit));
                    }

                    return x;
                },
                s_two with { EnsureOrdered = isOrdered })
            .ForEach(x => Volatile.Write(ref arrived[x], true)));

        PipelineReport report = await run.Completion.Within();

        AssertCounts(report, "pool", accepted: Items, delivered: Items);
        return blocked > 0;
    });

    [Theory] // S34: what is ready goes to the other one
    [InlineData(true)]
    [InlineData(false)]
    public Task AnItemThatBlocks_UntilThoseBehindItAreHandled_IsNotHeldUp(bool isOrdered) => UntilItIsSeenAsync(async () =>
    {
        int blocked = 0;
        var handled = new bool[Items + 1];
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(
                x =>
                {
                    Work();
                    if (x % 10_000 == 0 && x < Items && Turn.Here is { Owes: true })
                    {
                        Interlocked.Increment(ref blocked);
                        Assert.True(SpinWait.SpinUntil(() => !handled.AsSpan(x + 1, Behind).Contains(false), Waiting.Limit));
                    }

                    Volatile.Write(ref handled[x], true);
                    return x;
                },
                s_two with { EnsureOrdered = isOrdered })
            .ForEach(static _ => { }));

        PipelineReport report = await run.Completion.Within();

        AssertCounts(report, "pool", accepted: Items, delivered: Items);
        return blocked > 0;
    });

    [Fact] // S34: who reads what a pool makes takes none of its instances away
    public Task AReaderThatBlocks_UntilBothInstancesAreInUserCode_IsNotHeldUp() => UntilItIsSeenAsync(async () =>
    {
        using ManualResetEventSlim areBothIn = new();
        int isWanted = 0, inUserCode = 0;
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(
                x =>
                {
                    Work();
                    if (Volatile.Read(ref isWanted) == 1)
                    {
                        if (Interlocked.Increment(ref inUserCode) == 2)
                            areBothIn.Set();
                        Assert.True(areBothIn.Wait(Waiting.Limit));
                    }

                    return x;
                },
                s_two)
            .ForEach(x =>
            {
                if (x < Items / 2 && Turn.Here is { Owes: true } && Interlocked.CompareExchange(ref isWanted, 1, 0) == 0)
                {
                    Assert.True(areBothIn.Wait(Waiting.Limit));
                    Volatile.Write(ref isWanted, 2);
                }
            }));

        PipelineReport report = await run.Completion.Within();

        AssertCounts(report, "pool", accepted: Items, delivered: Items);
        return isWanted == 2;
    });

    [Theory] // S47: a writer that does not wait finds the slot of what is done
    [InlineData(FullMode.DropNewest)]
    [InlineData(FullMode.DropOldest)]
    [InlineData(FullMode.Fail)]
    public async Task WhereAFullStageLosesItems_TheStreamLearnsOfEach(FullMode mode)
    {
        Expect(21);
        bool isUntold = false;
        PipelineRun<int> run = Start(Pipeline
            .Accept<int>(new() { FullMode = mode })
            .Transform(
                x =>
                {
                    Work();
                    if (Turn.Here is { Owes: true })
                        Volatile.Write(ref isUntold, true);
                    return x;
                },
                s_two)
            .ForEach(static _ => { }));
        for (int i = 0; i < 2000; i++)
            run.TrySend(i);
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        Assert.True(report.Stage("pool").Delivered > 0);
        Assert.False(isUntold);
    }

    [Fact] // S47: only what is in work cannot be dropped
    public async Task DropOldest_DropsWhatNoInstanceHasStarted_HoweverShortItemsAre()
    {
        const int Held = 64;
        Expect(21);
        Gate gate = new();
        int blocked = 0;
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline
            .Accept<int>(new() { BoundedCapacity = Held, FullMode = FullMode.DropOldest })
            .Transform(
                x =>
                {
                    Work();
                    if (x > 0)
                    {
                        Interlocked.Increment(ref blocked);
                        gate.Block();
                    }

                    return x;
                },
                s_two)
            .ForEach(x =>
            {
                if (x > 0)
                    seen.Add(x);
            }));

        // So that it knows that they are short.
        for (int i = 0; i < 2000; i++)
            run.TrySend(0);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("pool").InFlight == 0 && run.Snapshot().Stage("pool").SlotsHeld == 0, "nothing is left");
        Assert.True(run.TrySend(1) && run.TrySend(2));
        await Waiting.UntilAsync(() => Volatile.Read(ref blocked) == 2, "both instances are in user code");
        for (int i = 3; i <= Held; i++)
            Assert.True(run.TrySend(i));
        await Waiting.LetOthersRunAsync();

        Assert.True(run.TrySend(Held + 1));

        gate.Open();
        run.Complete();
        await run.Completion.Within();
        Assert.Equal([1, 2, .. Enumerable.Range(4, Held - 2)], seen);
    }

    [Fact] // S47
    public async Task DropOldest_DropsWhatWaitsForInstancesThatRunACommand()
    {
        Expect(21);
        var told = new Told();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline
            .Accept<int>(new() { BoundedCapacity = 6, FullMode = FullMode.DropOldest })
            .Then(() => new InCommand(told), s_two)
            .ForEach(seen.Add));
        for (int i = 1; i <= 6; i++)
            Assert.True(run.TrySend(i));
        await Waiting.UntilAsync(() => run.Snapshot().Stage("pool").InFlight == 2, "both instances have an item");
        Task command = run.Control<IWaitingCommand>("pool").WaitAsync().AsTask();

        // It comes before the items that wait, and those two have slots again.
        told.MayGoOn.Open();
        await Waiting.UntilAsync(() => Volatile.Read(ref told.Instances) == 2 && run.Snapshot().Stage("pool").SlotsHeld == 4, "both instances run the command");
        for (int i = 7; i <= 9; i++)
            Assert.True(run.TrySend(i));

        told.MayEnd.Open();
        await command.Within();
        run.Complete();
        await run.Completion.Within();
        Assert.Equal([1, 2, 4, 5, 6, 7, 8, 9], seen);
    }

    private sealed class Told
    {
        public int Instances;

        public Gate MayGoOn { get; } = new();

        public Gate MayEnd { get; } = new();
    }

    private sealed class InCommand(Told told) : Runnable<int, int>, IWaitingCommand
    {
        public async ValueTask WaitAsync()
        {
            Interlocked.Increment(ref told.Instances);
            await told.MayEnd.WaitAsync();
        }

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await told.MayGoOn.WaitAsync(cancellationToken);
            await EmitAsync(item, cancellationToken);
        }
    }

    [Fact]
    public Task WhatAnItemSetsInTheFlow_IsNotForAnotherPoolOnItsThread() => UntilItIsSeenAsync(async () =>
    {
        AsyncLocal<int> flow = new();
        int found = 0;
        bool wasThere = false;
        await Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(
                x =>
                {
                    Work();
                    return flow.Value = x;
                },
                s_two)
            .Transform(
                x =>
                {
                    if (flow.Value != 0)
                        Interlocked.Increment(ref found);
                    if (Turn.Here is { Owes: true, KeepsBack: true })
                        Volatile.Write(ref wasThere, true);
                    return x;
                },
                new StageOptions { Name = "next", MaxDegreeOfParallelism = 2 })
            .ForEach(static _ => { })).Completion.Within();

        Assert.Equal(0, found);
        return wasThere;
    });

    // How long items take, and who gets to them, depends on the machine; what must hold must hold in each round.
    private static Task UntilItIsSeenAsync(Func<Task<bool>> round) => Waiting.UntilItIsSeenAsync(round, "an instance keeps something from the stream");
}
