using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What does it cost to give every item to two sinks, and to lose none? Sensitive to the slower of the two.
/// </summary>
public class FanOutBenchmarks : Question
{
    private const int Items = 200_000;

    [Params(16, 128, 1024)]
    public int Capacity { get; set; }

    [Params("puma", "puma-bufferblock", "tpl", "tpl-usual", "channels", "akka", "loop")]
    public override string Subject { get; set; } = "";

    [Benchmark(OperationsPerInvoke = Items)]
    public Task<long> Run() => RunAsync();

    private protected override Scenario Make() => FanOut.ToTwo(Capacity, Items);
}
