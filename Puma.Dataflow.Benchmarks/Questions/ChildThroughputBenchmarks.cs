using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What does an item cost that goes through a child process? Sensitive to the codec, to how many items one system call takes, and for large
/// ones to how often they are copied. The start of the child is part of each run here: look at <c>compare</c> for the rate alone.
/// </summary>
public class ChildThroughputBenchmarks : Question
{
    [Params("child-small", "child-text", "child-64KB", "child-6MB")]
    public string Item { get; set; } = "";

    [Params("puma")]
    public override string Subject { get; set; } = "";

    [Benchmark]
    public Task<long> Run() => RunAsync();

    private protected override Scenario Make() => Item switch
    {
        "child-small" => Children.OfReadings(1024, 500_000),
        "child-text" => Children.OfTexts(1024, 200_000),
        "child-64KB" => Children.OfArrays(64, 5_000),
        _ => Children.OfBlocks(4, 200),
    };
}
