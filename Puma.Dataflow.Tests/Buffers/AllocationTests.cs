using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Buffers;

/// <summary>Runs alone, because it reads what the whole process allocates.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone;

[Collection(nameof(Alone))]
public sealed class AllocationTests : PipelineTest
{
    private const int Items = 200_000;

    // The smallest object takes 24 bytes. Items of one byte, all in one burst, leave little to what the links' own blocks allocate.
    private const double BytesPerItem = 12;

    [Theory] // S34: no allocation per item on the synchronous path of a delegate stage.
    [InlineData(false)]
    [InlineData(true)]
    public async Task DelegateStages_OnTheSynchronousPath_AllocateNothingPerItem(bool isAsync)
    {
        // The first run also compiles.
        await BytesPerItemAsync(isAsync);
        double bytes = await BytesPerItemAsync(isAsync);

        Assert.True(bytes < BytesPerItem, $"{bytes:0.0} bytes per item.");
    }

    /// <summary>Each stage starts when the one before it has ended, so that it finds one burst.</summary>
    private async Task<double> BytesPerItemAsync(bool isAsync)
    {
        Gate stageMayStart = new(), sinkMayStart = new();
        StageOptions stageOptions = new() { Name = "stage", BoundedCapacity = Items };
        long sum = 0;
        var source = Pipeline.From(Bytes(), new() { Name = "source" });
        var stage = isAsync
            ? source.Transform((byte x, CancellationToken _) =>
            {
                stageMayStart.Block();
                return new ValueTask<byte>(x);
            }, stageOptions)
            : source.Transform(x =>
            {
                stageMayStart.Block();
                return x;
            }, stageOptions);
        Pipeline pipeline = stage.ForEach(x =>
        {
            sinkMayStart.Block();
            sum += x;
        }, new() { BoundedCapacity = Items }).Build(Options);
        long before = GC.GetTotalAllocatedBytes(precise: true);

        PipelineRun run = Watch(pipeline.Start());
        await run.Stage("source").Completion.Within();
        stageMayStart.Open();
        await run.Stage("stage").Completion.Within();
        sinkMayStart.Open();
        await run.Completion.Within();

        long after = GC.GetTotalAllocatedBytes(precise: true);
        Assert.Equal(Items, sum);
        return (after - before) / (double)Items;
    }

    private static IEnumerable<byte> Bytes()
    {
        for (int i = 0; i < Items; i++)
            yield return 1;
    }
}
