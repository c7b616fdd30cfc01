using System.Diagnostics;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>
/// What the instances of a pool do between two looks of its stream, one short item after another, nobody may notice: an item that takes long,
/// waits or throws is what it is in any pool.
/// </summary>
/// <param name="microseconds">How long an item takes that does nothing else.</param>
public abstract class ShortItemPoolContract(double microseconds) : LifecycleTest
{
    protected const int Items = 60_000;

    protected static StageOptions Pool { get; } = new() { Name = "pool", MaxDegreeOfParallelism = 4 };

    protected void Work()
    {
        if (microseconds == 0)
            return;
        long begin = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(begin).TotalMicroseconds < microseconds)
        {
        }
    }

    private int Worked(int x)
    {
        Work();
        return x;
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
                    Work();
                    if (x % 10_000 == 5_000)
                        Assert.True(later.Wait(Waiting.Limit));
                    if (x % 10_000 == 5_001)
                        later.Release();
                    return x;
                },
                Pool with { EnsureOrdered = isOrdered })
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
                    Work();
                    if (x % 1000 == 500)
                        await later.WaitAsync(cancellationToken);
                    if (x % 1000 == 503)
                        later.Release();
                    return x;
                },
                Pool with { EnsureOrdered = isOrdered })
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
            .Transform(x => x % 700 == 0 ? throw new FormatException() : Worked(x), Pool with { EnsureOrdered = isOrdered, ErrorPolicy = ErrorPolicy.Skip })
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
            .Transform(x => x == 40_000 ? throw new FormatException() : Worked(x), Pool)
            .ForEach(seen.Add), Options with { FaultMode = FaultMode.DrainDownstream });

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(40_000, fault.ItemNumber);
        Assert.Equal(Enumerable.Range(1, 39_999), seen);
    }

    [Fact] // S17, S18: what is below the failure is not cancelled
    public async Task TheLowestOfTwoFailures_IsTheCause_AndAllBeforeItAreThere_ThoughHandlersLookAtTheirToken()
    {
        ExpectFailure();
        for (int round = 0; round < 10; round++)
        {
            List<int> seen = [];
            PipelineRun run = Start(Pipeline
                .From(Enumerable.Range(1, 4000))
                .Transform(
                    (x, cancellationToken) =>
                    {
                        cancellationToken.ThrowIfCancellationRequested();
                        return x is 2988 or 3000 ? throw new FormatException() : Worked(x);
                    },
                    Pool)
                .ForEach(seen.Add), Options with { FaultMode = FaultMode.DrainDownstream });

            StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

            Assert.Equal(2988, fault.ItemNumber);
            Assert.Equal(Enumerable.Range(1, 2987), seen);
        }
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
                        return Worked(x);
                    isBlocked.TrySetResult();
                    Assert.True(cancellationToken.WaitHandle.WaitOne(Waiting.Limit));
                    throw new OperationCanceledException(cancellationToken);
                },
                Pool)
            .ForEach(static _ => { }));
        await isBlocked.Task.Within();

        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
    }

    [Fact] // S30: without an output
    public async Task ASink_HandlesEachItemOnce()
    {
        long sum = 0;
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, Items)).ForEach(x => { Interlocked.Add(ref sum, Worked(x)); }, Pool));

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
            .Transform(x => flow.Value = Worked(x), Pool)
            .ForEach(_ => { found += flow.Value == 0 ? 0 : 1; }));

        await run.Completion.Within();

        Assert.Equal(0, found);
    }
}
