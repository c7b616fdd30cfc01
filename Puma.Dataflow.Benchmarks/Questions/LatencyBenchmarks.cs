using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// How long is one item under way through an idle pipeline of three stages? Sensitive to the wake-ups of threads, and to nothing else.
/// </summary>
public class LatencyBenchmarks : Question
{
    private const int Items = 2_000;

    [Params("puma", "puma-bufferblock", "tpl", "tpl-usual", "channels", "akka")]
    public override string Subject { get; set; } = "";

    [Benchmark(OperationsPerInvoke = Items)]
    public Task<long> Run() => RunAsync();

    private protected override Scenario Make() => Senders.OneByOne(Items);
}
