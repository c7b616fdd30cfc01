using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What does one item cost in a chain with trivial work? Sensitive to the cost of a hand-over and to how many items move at once: small
/// buffers make both sides wait for each other, large items are copied at each hand-over.
/// </summary>
public class ChainBenchmarks : Question
{
    private const int Items = 200_000;

    [Params(2, 3, 10)]
    public int Stages { get; set; }

    [Params(16, 128, 1024)]
    public int Capacity { get; set; }

    [Params("int", "struct", "reference")]
    public string Item { get; set; } = "";

    [Params("puma", "puma-bufferblock", "tpl", "tpl-usual", "channels", "akka", "akka-fused", "loop")]
    public override string Subject { get; set; } = "";

    [Benchmark(OperationsPerInvoke = Items)]
    public Task<long> Run() => RunAsync();

    private protected override Scenario Make() => Item switch
    {
        "int" => Chains.OfInts(Stages, Capacity, Items),
        "struct" => Chains.OfStructs(Stages, Capacity, Items),
        _ => Chains.OfReferences(Stages, Capacity, Items),
    };
}
