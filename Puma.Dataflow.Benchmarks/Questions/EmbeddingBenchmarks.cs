using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What does a pipeline cost as one block in the middle of a TPL graph? Sensitive to its two doors, where foreign code offers and takes items.
/// </summary>
public class EmbeddingBenchmarks : Question
{
    private const int Items = 100_000;

    [Params(128, 1024)]
    public int Capacity { get; set; }

    [Params("puma", "puma-bufferblock", "tpl")]
    public override string Subject { get; set; } = "";

    [Benchmark(OperationsPerInvoke = Items)]
    public Task<long> Run() => RunAsync();

    private protected override Scenario Make() => Embedded.AsBlock(Capacity, Items);
}
