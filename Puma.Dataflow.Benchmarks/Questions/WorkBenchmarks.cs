using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What is lost of two processors when each item takes 10 microseconds? Sensitive to how soon an idle instance gets its next item; the loop
/// is two plain threads, each with one half of the items.
/// </summary>
public class WorkBenchmarks : Question
{
    private const int Items = 10_000;

    [Params(128)]
    public int Capacity { get; set; }

    [Params("puma", "puma-bufferblock", "tpl", "tpl-usual", "channels", "akka", "loop")]
    public override string Subject { get; set; } = "";

    [Benchmark(OperationsPerInvoke = Items)]
    public Task<long> Run() => RunAsync();

    private protected override Scenario Make() => Pools.OfWork(Capacity, Items);
}
