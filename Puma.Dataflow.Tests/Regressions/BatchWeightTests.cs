using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>A weight that threw made a batch discard the items before it.</summary>
public sealed class BatchWeightTests : PipelineTest
{
    [Fact] // S18
    public async Task Batch_WhoseWeightThrows_PassesOnWhatCameBefore()
    {
        ExpectFailure();
        List<int[]> batches = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3, 4])
            .Batch(10, weight: static x => x == 3 ? throw new FormatException("no weight") : 1, options: new() { Name = "batch" })
            .ForEach(batches.Add));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("batch", 3), (fault.Stage, fault.ItemNumber));
        Assert.Equal([[1, 2]], batches);
    }
}
