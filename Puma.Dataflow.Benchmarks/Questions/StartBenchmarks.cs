using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// How long does it take to build, start and end a pipeline through which nothing goes, in this process and with a child? Sensitive to
/// the start of the runtime, which is most of a child's.
/// </summary>
[MemoryDiagnoser]
public class StartBenchmarks
{
    [Params("in process", "loopback", "child process")]
    public string Place { get; set; } = "";

    [Benchmark]
    public async Task StartAndEnd()
    {
        Placement placement = Place switch { "in process" => Placement.InProcess, "loopback" => Placement.Loopback, _ => Placement.ChildProcess };
        await using PipelineRun<int> run = Pipeline.Accept<int>().Transform(static x => x, new() { Placement = placement }).ForEach(static _ => { }).Build(Quiet.Options).Start();
        await run.Started;
        run.Complete();
        await run.Completion;
    }
}
