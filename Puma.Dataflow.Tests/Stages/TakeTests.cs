using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

public sealed class TakeTests : PipelineTest
{
    [Theory] // S13
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(7)]
    public async Task Take_FewerThanThereAre_EndsTheEndlessSourceForLackOfDemand(int count)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Endless(), new() { Name = "source" }).Transform(static x => x, new() { Name = "before" }).Take(count).ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, count), seen);
        Assert.Equal((StageState.Completed, EndReason.Finished), (report.Stage("take").State, report.Stage("take").EndReason));
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("before").State, report.Stage("before").EndReason));
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("source").State, report.Stage("source").EndReason));
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(long.MaxValue)]
    public async Task Take_AsManyAsThereAreOrMore_PassesAll(long count)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3]).Take(count).ForEach(seen.Add));

        Assert.Equal(RunState.Completed, (await run.Completion.Within()).State);
        Assert.Equal([1, 2, 3], seen);
    }

    [Fact] // S13
    public async Task Take_ReachedAtAnEntry_ClosesIt()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Take(1).ForEach(static _ => { }));
        await run.SendAsync(1);
        await run.Completion.Within();

        await Assert.ThrowsAsync<PipelineClosedException>(() => run.SendAsync(2).AsTask());
    }

    private static IEnumerable<int> Endless()
    {
        for (int i = 0; ; i++)
            yield return i;
    }
}
