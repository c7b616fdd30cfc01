using Puma.Dataflow.Buffers;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>
/// The instances of a pool handle short items in the turn of its stream, one after another. Nobody may notice: an item that takes long, waits
/// or throws is what it is in any pool.
/// </summary>
public sealed class ShortItemPoolTests : LifecycleTest
{
    private const int Items = 60_000;

    private static readonly StageOptions s_pool = new() { Name = "pool", MaxDegreeOfParallelism = 4 };

    [Fact]
    public async Task ShortItems_AreHandledInTheTurnOfTheStream()
    {
        // Whether a turn is short depends on the machine: one short one is enough.
        long inTurn = 0, begin = TimeProvider.System.GetTimestamp();
        while (inTurn == 0)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(begin) < Waiting.Limit, "No item was handled in a turn.");
            await Start(Pipeline
                .From(Enumerable.Range(1, Items))
                .Transform(
                    x =>
                    {
                        if (Turn.Here is { KeepsBack: true })
                            Interlocked.Increment(ref inTurn);
                        return x;
                    },
                    s_pool)
                .ForEach(static _ => { })).Completion.Within();
        }
    }

    [Theory] // S34: the others take what comes next
    [InlineData(true)]
    [InlineData(false)]
    public async Task AnItemThatBlocksItsThread_UntilALaterOneIsHandled_HoldsUpNobody(bool isOrdered)
    {
        using SemaphoreSlim later = new(0);
        List<int> seen = [];
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(
                x =>
                {
                    if (x % 10_000 == 5_000)
                        Assert.True(later.Wait(Waiting.Limit));
                    if (x % 10_000 == 5_001)
                        later.Release();
                    return x;
                },
                s_pool with { EnsureOrdered = isOrdered })
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        AssertCounts(report, "pool", accepted: Items, delivered: Items);
        Assert.Equal(Enumerable.Range(1, Items), isOrdered ? seen : [.. seen.Order()]);
    }

    [Theory] // S34
    [InlineData(true)]
    [InlineData(false)]
    public async Task AnItemThatWaits_UntilALaterOneIsHandled_HoldsUpNobody(bool isOrdered)
    {
        using SemaphoreSlim later = new(0);
        List<int> seen = [];
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(
                async (x, cancellationToken) =>
                {
                    if (x % 1000 == 500)
                        await later.WaitAsync(cancellationToken);
                    if (x % 1000 == 503)
                        later.Release();
                    return x;
                },
                s_pool with { EnsureOrdered = isOrdered })
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        AssertCounts(report, "pool", accepted: Items, delivered: Items);
        Assert.Equal(Enumerable.Range(1, Items), isOrdered ? seen : [.. seen.Order()]);
    }

    [Theory] // S35
    [InlineData(true)]
    [InlineData(false)]
    public async Task ItemsThatThrow_AreLeftOut(bool isOrdered)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(static x => x % 700 == 0 ? throw new FormatException() : x, s_pool with { EnsureOrdered = isOrdered, ErrorPolicy = ErrorPolicy.Skip })
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        AssertCounts(report, "pool", accepted: Items, delivered: Items - (Items / 700), skipped: Items / 700);
        Assert.Equal(Enumerable.Range(1, Items).Where(static x => x % 700 != 0), isOrdered ? seen : [.. seen.Order()]);
    }

    [Fact] // S17, S18
    public async Task AFailure_InOrder_IsThatOfItsItem_AndAllBeforeItAreThere()
    {
        ExpectFailure();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(static x => x == 40_000 ? throw new FormatException() : x, s_pool)
            .ForEach(seen.Add), Options with { FaultMode = FaultMode.DrainDownstream });

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(40_000, fault.ItemNumber);
        Assert.Equal(Enumerable.Range(1, 39_999), seen);
    }

    [Fact] // S21
    public async Task ACancel_ReachesAnItemThatBlocks()
    {
        ExpectFailure();
        var isBlocked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(
                (x, cancellationToken) =>
                {
                    if (x != 40_000)
                        return x;
                    isBlocked.TrySetResult();
                    Assert.True(cancellationToken.WaitHandle.WaitOne(Waiting.Limit));
                    throw new OperationCanceledException(cancellationToken);
                },
                s_pool)
            .ForEach(static _ => { }));
        await isBlocked.Task.Within();

        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
    }

    [Fact] // S30: without an output
    public async Task ASink_HandlesEachItemOnce()
    {
        long sum = 0;
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, Items)).ForEach(x => { Interlocked.Add(ref sum, x); }, s_pool));

        PipelineReport report = await run.Completion.Within();

        AssertCounts(report, "pool", accepted: Items, delivered: Items);
        Assert.Equal((long)Items * (Items + 1) / 2, sum);
    }

    [Fact]
    public async Task WhatAnItemSetsInTheFlow_IsGoneWithTheTurn()
    {
        AsyncLocal<int> flow = new();
        int found = 0;
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(1, Items))
            .Transform(x => flow.Value = x, s_pool)
            .ForEach(_ => { found += flow.Value == 0 ? 0 : 1; }));

        await run.Completion.Within();

        Assert.Equal(0, found);
    }
}
