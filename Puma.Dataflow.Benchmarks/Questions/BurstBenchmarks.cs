using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What does an item cost that comes in a burst of 100 after a pause? Sensitive to how soon sleeping stages wake, one after another.
/// </summary>
public class BurstBenchmarks : Question
{
    private const int Items = 20_000;

    [Params(16, 128, 1024)]
    public int Capacity { get; set; }

    [Params("puma", "puma-bufferblock", "tpl", "tpl-usual", "channels", "akka")]
    public override string Subject { get; set; } = "";

    [Benchmark(OperationsPerInvoke = Items)]
    public Task<long> Run() => RunAsync();

    private protected override Scenario Make() => Senders.InBursts(Capacity, Items);
}
