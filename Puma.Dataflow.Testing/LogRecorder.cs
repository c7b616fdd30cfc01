using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Testing;

/// <summary>One log record.</summary>
/// <param name="Category">The category of the logger.</param>
/// <param name="Level">The level.</param>
/// <param name="EventId">The event.</param>
/// <param name="Message">The formatted message.</param>
/// <param name="Exception">The exception, if there was one.</param>
public sealed record LogRecord(string Category, LogLevel Level, EventId EventId, string Message, Exception? Exception);

/// <summary>A logger factory that keeps all records in memory, for <see cref="PipelineOptions.LoggerFactory"/>. Safe for any thread.</summary>
public sealed class LogRecorder : ILoggerFactory
{
    private readonly ConcurrentQueue<LogRecord> _records = [];

    /// <summary>The records so far, in the order in which they were logged.</summary>
    public IReadOnlyCollection<LogRecord> Records => _records;

    /// <inheritdoc/>
    public ILogger CreateLogger(string categoryName) => new Recorder(this, categoryName);

    /// <summary>Not supported: the recorder is the only provider.</summary>
    /// <param name="provider">The provider.</param>
    /// <exception cref="NotSupportedException">Always.</exception>
    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("A LogRecorder is the only provider of its loggers.");

    /// <inheritdoc/>
    public void Dispose() { }

    private sealed class Recorder(LogRecorder owner, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel != LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            owner._records.Enqueue(new LogRecord(category, logLevel, eventId, formatter(state, exception), exception));
    }
}
