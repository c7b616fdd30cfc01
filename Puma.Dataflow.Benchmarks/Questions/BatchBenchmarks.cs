using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What does it cost to make arrays of 100 of single items? Sensitive to the cost of an item until its batch is full, and to the arrays.
/// </summary>
public class BatchBenchmarks : Question
{
    private const int Items = 200_000;

    [Params(128, 1024)]
    public int Capacity { get; set; }

    [Params("puma", "puma-bufferblock", "tpl", "tpl-usual", "channels", "akka", "loop")]
    public override string Subject { get; set; } = "";

    [Benchmark(OperationsPerInvoke = Items)]
    public Task<long> Run() => RunAsync();

    private protected override Scenario Make() => Batches.OfHundred(Capacity, Items);
}
