using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What does one item cost in a stage with four instances and trivial work, with and without the order of the input? Sensitive to how items
/// are handed to instances and back, and to the number of processors.
/// </summary>
public class PoolBenchmarks : Question
{
    private const int Items = 200_000;

    [Params(true, false)]
    public bool IsOrdered { get; set; }

    [Params(128, 1024)]
    public int Capacity { get; set; }

    [Params("puma", "puma-bufferblock", "tpl", "tpl-usual", "channels", "akka", "loop")]
    public override string Subject { get; set; } = "";

    [Benchmark(OperationsPerInvoke = Items)]
    public Task<long> Run() => RunAsync();

    private protected override Scenario Make() => IsOrdered ? Pools.Ordered(Capacity, Items) : Pools.Unordered(Capacity, Items);
}
