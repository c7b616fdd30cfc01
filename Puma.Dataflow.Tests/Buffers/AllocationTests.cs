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

    /// <summary>The stage in the middle.</summary>
    public enum Middle
    {
        Transform,
        AsyncTransform,

        /// <summary>Its delegate returns a value, which is dropped.</summary>
        TapWithResult,
    }

    [Theory] // S34: no allocation per item on the synchronous path of a delegate stage. The sink's delegate may return a value, too.
    [InlineData(Middle.Transform, false)]
    [InlineData(Middle.Transform, true)]
    [InlineData(Middle.AsyncTransform, false)]
    [InlineData(Middle.TapWithResult, false)]
    public async Task DelegateStages_OnTheSynchronousPath_AllocateNothingPerItem(Middle middle, bool hasSinkAResult)
    {
        // The first run also compiles.
        await BytesPerItemAsync(middle, hasSinkAResult);
        double bytes = await BytesPerItemAsync(middle, hasSinkAResult);

        Assert.True(bytes < BytesPerItem, $"{bytes:0.0} bytes per item.");
    }

    /// <summary>Each stage starts when the one before it has ended, so that it finds one burst.</summary>
    private async Task<double> BytesPerItemAsync(Middle middle, bool hasSinkAResult)
    {
        Gate stageMayStart = new(), sinkMayStart = new();
        StageOptions stageOptions = new() { Name = "stage", BoundedCapacity = Items };
        long sum = 0;
        var source = Pipeline.From(Bytes(), new() { Name = "source" });
        var stage = middle switch
        {
            Middle.Transform => source.Transform(x => Pass(stageMayStart, x), stageOptions),
            Middle.AsyncTransform => source.Transform((byte x, CancellationToken _) => new ValueTask<byte>(Pass(stageMayStart, x)), stageOptions),
            _ => source.Tap(x => (long)Pass(stageMayStart, x), stageOptions),
        };
        StageOptions sinkOptions = new() { BoundedCapacity = Items };
        Pipeline pipeline = (hasSinkAResult ? stage.ForEach(x => sum += Pass(sinkMayStart, x), sinkOptions) : stage.ForEach(x => { sum += Pass(sinkMayStart, x); }, sinkOptions)).Build(Options);
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

    private static byte Pass(Gate gate, byte value)
    {
        gate.Block();
        return value;
    }

    private static IEnumerable<byte> Bytes()
    {
        for (int i = 0; i < Items; i++)
            yield return 1;
    }
}
