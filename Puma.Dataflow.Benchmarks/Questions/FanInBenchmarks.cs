using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What does it cost to lead two sources into one sink? Sensitive to how two writers get at one reader.
/// </summary>
public class FanInBenchmarks : Question
{
    private const int Items = 200_000;

    [Params(16, 128, 1024)]
    public int Capacity { get; set; }

    [Params("puma", "puma-bufferblock", "tpl", "channels", "akka", "loop")]
    public override string Subject { get; set; } = "";

    [Benchmark(OperationsPerInvoke = Items)]
    public Task<long> Run() => RunAsync();

    private protected override Scenario Make() => Merges.OfTwo(Capacity, Items);
}
