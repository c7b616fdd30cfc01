using BenchmarkDotNet.Attributes;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What does a child process cost that is there: the way of one item there and back, one command, one status? Sensitive to the wake-ups of
/// threads in two processes.
/// </summary>
[MemoryDiagnoser]
public class ChildBenchmarks
{
    private readonly SemaphoreSlim _arrived = new(0);
    private PipelineRun<int> _run = null!;
    private ICounter _counter = null!;

    [Params("in process", "child process")]
    public string Place { get; set; } = "";

    [GlobalSetup]
    public async Task StartAsync()
    {
        _run = Pipeline.Accept<int>()
            .Then(static () => new Counter(), new() { Name = "counter", Placement = Place == "in process" ? Placement.InProcess : Placement.ChildProcess })
            .ForEach(_ => { _arrived.Release(); })
            .Build(Quiet.Options)
            .Start();
        await _run.Started;
        _counter = _run.Control<ICounter>("counter");
    }

    [GlobalCleanup]
    public async Task EndAsync() => await _run.DisposeAsync();

    [Benchmark]
    public async Task Item()
    {
        await _run.SendAsync(1);
        await _arrived.WaitAsync();
    }

    [Benchmark]
    public async Task<int> Command() => await _counter.CountAsync(1);

    public interface ICounter
    {
        ValueTask<int> CountAsync(int more);
    }

    private sealed class Counter : Runnable<int, int>, ICounter
    {
        private int _count;

        public ValueTask<int> CountAsync(int more) => new(_count += more);

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);
    }
}
