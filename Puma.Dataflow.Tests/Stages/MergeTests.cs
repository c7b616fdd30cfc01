using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

public sealed class MergeTests : PipelineTest
{
    [Fact] // S10, Puma 129
    public async Task Merge_PassesOnEveryItemOnce_InTheOrderOfItsInput()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 500))
            .Merge(Pipeline.From(Enumerable.Range(1000, 700)), Pipeline.From(Enumerable.Range(2000, 300)))
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, 500), seen.Where(static x => x < 1000));
        Assert.Equal(Enumerable.Range(1000, 700), seen.Where(static x => x is >= 1000 and < 2000));
        Assert.Equal(Enumerable.Range(2000, 300), seen.Where(static x => x >= 2000));
        Assert.Equal(1500, report.Stage("merge").Delivered);
    }

    [Fact] // S41
    public async Task Merge_WithBothInputsFull_TakesOneOfEachInTurn()
    {
        List<int> seen = [];
        Gate release = new();
        PipelineRun run = Start(Pipeline.From(Enumerable.Repeat(1, 40), new() { Name = "ones" })
            .Merge(new StageOptions { Name = "merge", BoundedCapacity = 8 }, Pipeline.From(Enumerable.Repeat(2, 40), new() { Name = "twos" }))
            .ForEach(async x =>
            {
                await release.WaitAsync();
                seen.Add(x);
            }, new() { Name = "sink", BoundedCapacity = 1 }));
        await Waiting.UntilAsync(() => run.Snapshot().Stage("merge").SlotsHeld == 16, "both inputs are full");

        release.Open();
        await run.Completion.Within();

        // At most three items left the inputs before both were full: one in the sink, one in its link, one in the merge's hand.
        int[] fair = [.. seen.Skip(3).Take(12)];
        Assert.All(fair.Zip(fair.Skip(1)), static pair => Assert.NotEqual(pair.First, pair.Second));
        Assert.Equal((40, 40), (seen.Count(static x => x == 1), seen.Count(static x => x == 2)));
    }
}
