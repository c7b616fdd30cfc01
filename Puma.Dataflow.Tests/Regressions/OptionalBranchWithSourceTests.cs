using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>A source inside an optional branch may have branches of its own.</summary>
public sealed class OptionalBranchWithSourceTests : PipelineTest
{
    [Fact] // S19
    public async Task OptionalBranch_MergesASourceThatBranches_IsBuiltAndRuns()
    {
        List<int> main = [], merged = [], side = [];
        PipelineRun run = Start(Pipeline.From([1, 2])
            .Broadcast(
                b => b.ForEach(main.Add),
                b => b.Optional()
                    .Merge(Pipeline.From([3, 4, 5]).Route().When(static x => x == 3, c => c.ForEach(side.Add)).Otherwise(static c => c))
                    .ForEach(merged.Add)));

        await run.Completion.Within();

        Assert.Equal([1, 2], main);
        Assert.Equal([3], side);
        Assert.Equal([1, 2, 4, 5], merged.Order());
    }

    [Fact] // S19
    public void OptionalBranch_ThatJoinsTheRestAgain_IsRefused()
    {
        PipelineEnd<NoInput> end = Pipeline.From([1, 2])
            .Route()
            .When(static x => x == 1, static b => b.Optional().Transform(static x => x))
            .Otherwise(static b => b)
            .ForEach(static x => { });

        PipelineBuildException error = Assert.Throws<PipelineBuildException>(() => end.Build());

        Assert.Contains("joins the rest of the pipeline again", error.Message, StringComparison.Ordinal);
    }
}
