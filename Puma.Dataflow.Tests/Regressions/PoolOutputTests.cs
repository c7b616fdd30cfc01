using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// An instance of a pool may emit and return between two looks of the stage at its item: a stage that looked for outputs first and for
/// the return second took the item for done and lost the output, about once in some hundred thousand items.
/// </summary>
public sealed class PoolOutputTests : PipelineTest
{
    [Theory] // S30, S31
    [InlineData(true)]
    [InlineData(false)]
    public async Task Pool_InstancesReturnWhileTheStageLooks_EveryOutputArrives(bool isOrdered)
    {
        const int Items = 500_000;
        long received = 0;
        PipelineRun run = Start(Pipeline
            .From(Enumerable.Range(0, Items))
            .Transform(static x => x, new() { Name = "pool", MaxDegreeOfParallelism = 4, EnsureOrdered = isOrdered })
            .ForEach(_ => { received++; }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Items, received);
        Assert.Equal(report.Stage("pool").Delivered, report.Stage("pool").Emitted);
    }
}
