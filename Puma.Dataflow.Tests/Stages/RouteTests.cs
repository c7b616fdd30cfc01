using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

public sealed class RouteTests : PipelineTest
{
    [Fact] // S47
    public async Task Route_LeadsAnItemToTheFirstBranchThatTakesIt_ElseToTheLast()
    {
        List<int> small = [], even = [], rest = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 10))
            .Route(new() { Name = "route" })
            .When(static x => x < 3, b => b.ForEach(small.Add))
            .When(static x => x % 2 == 0, b => b.ForEach(even.Add))
            .Otherwise(b => b.ForEach(rest.Add)));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([0, 1, 2], small);
        Assert.Equal([4, 6, 8], even);
        Assert.Equal([3, 5, 7, 9], rest);
        Assert.Equal((10, 10, 10), (report.Stage("route").Accepted, report.Stage("route").Delivered, report.Stage("route").Emitted));
    }

    [Fact] // S14, S18
    public async Task Route_WhosePredicateThrows_FaultsWithTheItem()
    {
        ExpectFailure();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3, 4])
            .Route(new() { Name = "route" })
            .When(static x => x == 3 ? throw new FormatException() : true, b => b.ForEach(seen.Add))
            .Otherwise(static b => b.ForEach(static _ => { })));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("route", 3), (fault.Stage, fault.ItemNumber));
        Assert.Equal([1, 2], seen);
    }

    [Fact] // S13
    public async Task Route_ToAFinishedBranch_DiscardsAndCounts()
    {
        List<int> first = [], rest = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 100))
            .Route(new() { Name = "route" })
            .When(static x => x % 2 == 0, b => b.Take(1).ForEach(first.Add))
            .Otherwise(b => b.ForEach(rest.Add)));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([0], first);
        Assert.Equal(50, rest.Count);
        LinkReport branch = report.Links.Single(static l => l.To == "take");
        Assert.Equal(100, report.Stage("route").Delivered + report.Stage("route").Discarded);
        Assert.Equal(49, report.Stage("route").Discarded + branch.Discarded);
    }
}
