using BenchmarkDotNet.Attributes;
using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Benchmarks.Questions;

/// <summary>
/// What does a log record cost until its owner's logging has it, from this process and from a child? Sensitive to what is done with it there,
/// which is nothing here: look at the command <c>log</c> for files.
/// </summary>
[MemoryDiagnoser]
public class LogBenchmarks
{
    private const int Records = 100_000;

    [Params("in process", "child process")]
    public string Place { get; set; } = "";

    [Benchmark(OperationsPerInvoke = Records)]
    public async Task<int> Record()
    {
        var counter = new Counting();
        using var loggers = LoggerFactory.Create(builder => builder.AddProvider(counter));
        await using PipelineRun run = Pipeline.From([Records])
            .Then(static () => new Logs(), new() { Placement = Place == "in process" ? Placement.InProcess : Placement.ChildProcess })
            .ForEach(static _ => { })
            .Build(new() { LoggerFactory = loggers })
            .Start();
        await run.Completion;
        return counter.Count >= Records ? counter.Count : throw new InvalidOperationException($"{counter.Count} of {Records} records came.");
    }

    private sealed class Logs : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            for (int i = 0; i < item; i++)
                Context.Logger.LogInformation("record {Number}", i);
            return EmitAsync(item, cancellationToken);
        }
    }

    private sealed class Counting : ILoggerProvider, ILogger
    {
        private int _count;

        public int Count => _count;

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
                Interlocked.Increment(ref _count);
        }

        public void Dispose() { }
    }
}
