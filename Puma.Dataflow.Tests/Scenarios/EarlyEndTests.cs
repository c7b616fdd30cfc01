using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Stages that end before their input does, and what that does to the stages before them (S13).</summary>
public sealed class EarlyEndTests : LifecycleTest
{
    [Fact] // S13
    public async Task Take_EndsTheRunCompleted_AndEverythingUpstreamForLackOfDemand()
    {
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { Name = "entry" })
            .Transform(static x => x, new() { Name = "work" })
            .Take(3)
            .ForEach(seen.Add, new() { Name = "sink" }));
        PipelineClosedException closed = await Assert.ThrowsAsync<PipelineClosedException>(async () =>
        {
            for (int i = 1; ; i++)
                await run.SendAsync(i, TestToken);
        });
        Assert.Null(closed.InnerException);

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal([1, 2, 3], seen);
        Assert.Equal((StageState.Completed, EndReason.Finished), (report.Stage("take").State, report.Stage("take").EndReason));
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("work").State, report.Stage("work").EndReason));
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("entry").State, report.Stage("entry").EndReason));
        Assert.All(Discarded, static d => Assert.Equal(DiscardReason.NoDemand, d.Reason));
    }

    [Fact] // S13: one live branch is demand enough
    public async Task TakeInOneBranch_LetsTheOtherGoOn_TakeInBothEndsTheSource()
    {
        List<int> few = [], more = [];
        PipelineRun run = Start(Pipeline.From(FaultTests.Naturals(), new() { Name = "source" })
            .Broadcast(
                new StageOptions { Name = "fan" },
                b => b.Take(3).ForEach(few.Add),
                b => b.Take(500).ForEach(more.Add)));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2, 3], few);
        Assert.Equal(Enumerable.Range(1, 500), more);
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("fan").State, report.Stage("fan").EndReason));
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("source").State, report.Stage("source").EndReason));
    }

    [Fact] // S13: through a merge to all of its sources
    public async Task TakeBehindAMerge_EndsAllItsSources()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(FaultTests.Naturals(), new() { Name = "a" })
            .Merge(Pipeline.From(FaultTests.Naturals(), new() { Name = "b" }).Transform(static x => -x, new() { Name = "minus", MaxDegreeOfParallelism = 2 }))
            .Take(100)
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(100, seen.Count);
        foreach (string stage in (string[])["a", "b", "minus", "merge"])
            Assert.Equal((stage, StageState.Completed, EndReason.NoDemand), (stage, report.Stage(stage).State, report.Stage(stage).EndReason));
    }

    [Fact] // S13: an item that is routed to a finished branch is discarded
    public async Task RouteToAFinishedBranch_DiscardsItsItems_AndTheOthersGoOn()
    {
        List<int> odd = [], even = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Route(new() { Name = "route" })
            .When(static x => x % 2 == 1, b => b.ForEach(odd.Add, new() { Name = "odd" }))
            .Otherwise(b => b.ForEach(even.Add, new() { Name = "even" })));
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("odd").Delivered == 1, "the first item is handled");
        await run.Stage("odd").FinishAsync().Within();
        for (int i = 2; i <= 10; i++)
            await run.SendAsync(i, TestToken);
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1], odd);
        Assert.Equal([2, 4, 6, 8, 10], even);
        AssertCounts(report, "route", accepted: 10, delivered: 6, discarded: 4);
        Assert.Equal([3, 5, 7, 9], Discarded.Select(static d => (int)d.Item!));
        Assert.All(Discarded, static d => Assert.Equal(DiscardReason.NoDemand, d.Reason));
    }

    [Fact] // S13: a failure after nobody wants the outputs any more changes nothing
    public async Task FailureAfterNoDemand_IsSecondary()
    {
        ExpectFailure();
        var inWork = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Transform(
                async (x, ct) =>
                {
                    inWork.Open();
                    try
                    {
                        await new Gate().WaitAsync(ct);
                    }
                    catch (OperationCanceledException)
                    {
                        throw new FormatException("too late");
                    }

                    return x;
                },
                new() { Name = "work" })
            .ForEach(static _ => { }, new() { Name = "sink" }));
        await run.SendAsync(1, TestToken);
        await inWork.WaitAsync();
        await run.Stage("sink").FinishAsync().Within();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal("too late", Assert.Single(report.SecondaryErrors).InnerException!.Message);
        AssertCounts(report, "work", accepted: 1, discarded: 1);
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("work").State, report.Stage("work").EndReason));
    }

    [Theory] // S13: what an instance has begun is passed on
    [InlineData(true)]
    [InlineData(false)]
    public async Task FinishOfAPool_PassesOnWhatWasBegun_AndDiscardsTheRest(bool isOrdered)
    {
        var gate = new Gate();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Transform(
                async x =>
                {
                    await gate.WaitAsync();
                    return x;
                },
                new() { Name = "work", MaxDegreeOfParallelism = 3, EnsureOrdered = isOrdered })
            .ForEach(seen.Add, new() { Name = "sink" }));
        for (int i = 1; i <= 10; i++)
            await run.SendAsync(i, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Links.Single(static l => l.To == "work").Received == 3, "every instance works");
        Task finishing = run.Stage("work").FinishAsync();
        gate.Open();
        await finishing.Within();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2, 3], seen.Order());
        AssertCounts(report, "work", accepted: 10, delivered: 3, discarded: 7);
        await Assert.ThrowsAsync<PipelineClosedException>(() => run.SendAsync(1, TestToken).AsTask());
    }

    [Fact] // S10, S13
    public async Task FinishOfASource_EndsTheRunCompleted()
    {
        long seen = 0;
        PipelineRun run = Start(Pipeline.From(FaultTests.Naturals(), new() { Name = "source" }).ForEach(_ => Interlocked.Increment(ref seen), new() { Name = "sink" }));
        await Waiting.UntilAsync(() => Interlocked.Read(ref seen) > 100, "items flow");
        await run.Stage("source").FinishAsync().Within();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal((StageState.Completed, EndReason.Finished), (report.Stage("source").State, report.Stage("source").EndReason));
        Assert.Equal(report.Stage("source").Emitted, seen);
    }
}
