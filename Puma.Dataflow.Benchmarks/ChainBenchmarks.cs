using System.Threading.Tasks.Dataflow;
using BenchmarkDotNet.Attributes;

namespace Puma.Dataflow.Benchmarks;

/// <summary>
/// What does one item cost in a chain of source, transform and sink with trivial work? Sensitive to the cost of a hand-over and to how many
/// items move at once; the capacities show what a small buffer costs. The baseline is the same chain wired by hand from TPL blocks.
/// </summary>
[MemoryDiagnoser]
public class ChainBenchmarks
{
    private const int Items = 200_000;

    [Params(128, 1024)]
    public int Capacity { get; set; }

    [Benchmark(Baseline = true, OperationsPerInvoke = Items)]
    public async Task<long> TplByHand()
    {
        long sum = 0;
        var transform = new TransformBlock<int, int>(static x => x + 1, new() { BoundedCapacity = Capacity, SingleProducerConstrained = true });
        var sink = new ActionBlock<int>(x => sum += x, new() { BoundedCapacity = Capacity, SingleProducerConstrained = true });
        transform.LinkTo(sink, new() { PropagateCompletion = true });
        for (int i = 0; i < Items; i++)
        {
            if (!transform.Post(i))
                await transform.SendAsync(i);
        }

        transform.Complete();
        await sink.Completion;
        return sum;
    }

    [Benchmark(OperationsPerInvoke = Items)]
    public async Task<long> Puma()
    {
        long sum = 0;
        StageOptions options = new() { BoundedCapacity = Capacity };
        await using PipelineRun run = Pipeline.From(Enumerable.Range(0, Items))
            .Transform(static x => x + 1, options)
            .ForEach(x => { sum += x; }, options)
            .Build()
            .Start();
        await run.Completion;
        return sum;
    }
}
