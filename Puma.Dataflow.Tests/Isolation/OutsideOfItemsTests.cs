using Microsoft.Extensions.Logging;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What goes beside the items harms them as little in a child as in this process: logs, output, errors, options.</summary>
public sealed class OutsideOfItemsTests : ChildTest
{
    public enum Says
    {
        Log,
        Output,
        Error,
    }

    [Theory] // S4, S7: a logger that throws ends neither this process nor the run, and is told of once
    [InlineData(Says.Log)]
    [InlineData(Says.Output)]
    [InlineData(Says.Error)]
    public async Task ALoggerThatThrows_IsASecondaryError(Says says)
    {
        Expect(20);
        List<int> seen = [];
        using var loggers = new Failing(Log, "words of the child");
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Then(static o => new Talks(o), new TalksOptions(says), new() { Name = "talks", Placement = Placement.ChildProcess })
            .ForEach(seen.Add), Options with { LoggerFactory = loggers });

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2, 3], seen);
        Assert.Equal(3, loggers.Count);
        var error = Assert.IsType<StageFaultedException>(Assert.Single(report.SecondaryErrors));
        Assert.Equal("talks", error.Stage);
        Assert.IsType<FormatException>(error.InnerException);
    }

    [Fact] // S3, S38: the least limit of items is none of errors
    public async Task AnErrorLongerThanAnItemMayBe_IsAnItemError()
    {
        List<DeadLetter<int>> letters = [];
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Transform(static x => x == 2 ? throw new FormatException(new string('z', 5000)) : x, new()
            {
                Name = "small",
                Placement = Placement.ChildProcess with { MaxItemSize = 1024 },
                ErrorPolicy = ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) =>
                {
                    letters.Add(letter);
                    return default;
                }),
            })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal([1, 3], seen);
        Assert.Contains(new string('z', 5000), Assert.IsType<RemoteRunnableException>(Assert.Single(letters).Error).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task OptionsOfAnySize_Arrive(bool isChild)
    {
        List<long> seen = [];
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static o => new Weighs(o), new WeighsOptions(new string('x', 1_000_000), new byte[3_000_000]), new() { Name = "weighs", Placement = isChild ? Placement.ChildProcess : Placement.Loopback })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal([4_000_000], seen);
    }

    private sealed record TalksOptions(Says Says);

    private sealed class Talks(TalksOptions options) : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            switch (options.Says)
            {
                case Says.Log:
                    Context.Logger.Log(LogLevel.Information, "words of the child {Item}", item);
                    break;
                case Says.Output:
                    Console.Out.WriteLine($"words of the child {item}");
                    break;
                default:
                    Console.Error.WriteLine($"words of the child {item}");
                    break;
            }

            return EmitAsync(item, cancellationToken);
        }
    }

    private sealed record WeighsOptions(string Text, byte[] Bytes);

    private sealed class Weighs(WeighsOptions options) : Runnable<int, long>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(options.Text.Length + options.Bytes.Length, cancellationToken);
    }

    /// <summary>Loggers that throw at certain words.</summary>
    private sealed class Failing(LogRecorder inner, string words) : ILoggerFactory
    {
        private int _count;

        public int Count => Volatile.Read(ref _count);

        public ILogger CreateLogger(string categoryName) => new Logger(this, inner.CreateLogger(categoryName));

        public void AddProvider(ILoggerProvider provider) => inner.AddProvider(provider);

        public void Dispose() { }

        private sealed class Logger(Failing owner, ILogger logger) : ILogger
        {
            public IDisposable? BeginScope<TState>(TState state)
                where TState : notnull => logger.BeginScope(state);

            public bool IsEnabled(LogLevel logLevel) => logger.IsEnabled(logLevel);

            public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            {
                if (formatter(state, exception).Contains(owner.Words, StringComparison.Ordinal))
                {
                    Interlocked.Increment(ref owner._count);
                    throw new FormatException("the logger fails");
                }

                logger.Log(logLevel, eventId, state, exception, formatter);
            }
        }

        private string Words => words;
    }
}
