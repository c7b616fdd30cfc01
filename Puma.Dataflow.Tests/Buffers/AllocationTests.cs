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

        /// <inheritdoc cref="TapWithResult"/>
        TapWithTokenAndResult,
    }

    /// <summary>What the sink's delegate is.</summary>
    public enum Sink
    {
        Action,

        /// <summary>It returns a value, which is dropped.</summary>
        WithResult,

        /// <inheritdoc cref="WithResult"/>
        WithTokenAndResult,
    }

    [Theory] // S34: no allocation per item on the synchronous path of a delegate stage
    [InlineData(Middle.Transform, Sink.Action)]
    [InlineData(Middle.Transform, Sink.WithResult)]
    [InlineData(Middle.Transform, Sink.WithTokenAndResult)]
    [InlineData(Middle.AsyncTransform, Sink.Action)]
    [InlineData(Middle.TapWithResult, Sink.Action)]
    [InlineData(Middle.TapWithTokenAndResult, Sink.Action)]
    public async Task DelegateStages_OnTheSynchronousPath_AllocateNothingPerItem(Middle middle, Sink sink)
    {
        // The first run also compiles.
        await BytesPerItemAsync(middle, sink);
        double bytes = await BytesPerItemAsync(middle, sink);

        Assert.True(bytes < BytesPerItem, $"{bytes:0.0} bytes per item.");
    }

    /// <summary>Each stage starts when the one before it has ended, so that it finds one burst.</summary>
    private async Task<double> BytesPerItemAsync(Middle middle, Sink sink)
    {
        Gate stageMayStart = new(), sinkMayStart = new();
        StageOptions stageOptions = new() { Name = "stage", BoundedCapacity = Items };
        long sum = 0;
        var source = Pipeline.From(Bytes(), new() { Name = "source" });
        var stage = middle switch
        {
            Middle.Transform => source.Transform(x => Pass(stageMayStart, x), stageOptions),
            Middle.AsyncTransform => source.Transform((byte x, CancellationToken _) => new ValueTask<byte>(Pass(stageMayStart, x)), stageOptions),
            Middle.TapWithResult => source.Tap(x => (long)Pass(stageMayStart, x), stageOptions),
            _ => source.Tap((x, _) => (long)Pass(stageMayStart, x), stageOptions),
        };
        StageOptions sinkOptions = new() { BoundedCapacity = Items };
        PipelineEnd<NoInput> end = sink switch
        {
            Sink.Action => stage.ForEach(x => { sum += Pass(sinkMayStart, x); }, sinkOptions),
            Sink.WithResult => stage.ForEach(x => sum += Pass(sinkMayStart, x), sinkOptions),
            _ => stage.ForEach((x, _) => sum += Pass(sinkMayStart, x), sinkOptions),
        };
        Pipeline pipeline = end.Build(Options);
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
