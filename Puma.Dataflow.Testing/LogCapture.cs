using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;

namespace Puma.Dataflow.Testing;

/// <summary>
/// A logger factory that keeps all records in memory, for <see cref="PipelineOptions.LoggerFactory"/>: what the library logs and what the
/// runnables of a run log, those in child processes included.
/// </summary>
/// <remarks>
/// <para>
/// A capture can be nested: <see cref="Nest"/> opens one that keeps what is logged while it is open. Captures that are nested in one another
/// may be disposed in any order. What a logger of a nested capture logs is for that capture, for those nested in it, and for the ones around it.
/// </para>
/// <para>
/// A record has its message, its structured state and its scopes; all captures that keep it hold the same object, in the same order.
/// All members may be called from any thread. Several runs may log to one capture.
/// </para>
/// </remarks>
public sealed class LogCapture : ILoggerFactory
{
    private readonly LogLevel _minimumLevel;
    private readonly LogCapture? _outer;
    private readonly bool _shields;

    // One for a capture and all that are nested in it, at any depth.
    private readonly Lock _gate;
    private readonly IExternalScopeProvider _scopes;
    private readonly List<LogCapture> _open; // Guarded by _gate.

    // Makes the records of this capture's loggers and holds them until they are handed out.
    private readonly FakeLoggerProvider _inbox = new();

    private readonly List<FakeLogRecord> _records = []; // Guarded by _gate.

    /// <summary>Opens a capture.</summary>
    /// <param name="minimumLevel">
    /// The lowest level that it keeps, by default all. Below it the loggers say that they are not enabled. <see cref="LogLevel.None"/>: it keeps nothing.
    /// </param>
    public LogCapture(LogLevel minimumLevel = LogLevel.Trace)
    {
        _minimumLevel = minimumLevel;
        _gate = new Lock();
        _scopes = new LoggerExternalScopeProvider();
        _open = [this];
        _inbox.SetScopeProvider(_scopes);
    }

    private LogCapture(LogCapture outer, bool shields)
    {
        (_outer, _shields, _minimumLevel) = (outer, shields, outer._minimumLevel);
        (_gate, _scopes, _open) = (outer._gate, outer._scopes, outer._open);
        _inbox.SetScopeProvider(_scopes);
    }

    /// <summary>What was logged so far while it was open, in order. A copy.</summary>
    public IReadOnlyList<FakeLogRecord> Records
    {
        get
        {
            lock (_gate)
                return [.. _records];
        }
    }

    /// <summary>Opens a capture in this one, which keeps what is logged from here on until it is disposed of. It has the minimum level of this one.</summary>
    /// <param name="shields">
    /// Whether what it keeps is kept from this capture and from all around this one, for as long as it is open. By default they keep it as well.
    /// </param>
    /// <exception cref="ObjectDisposedException">This capture was disposed of.</exception>
    public LogCapture Nest(bool shields = false)
    {
        var inner = new LogCapture(this, shields);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(!_open.Contains(this), this);
            _open.Add(inner);
        }

        return inner;
    }

    /// <summary>The records that meet all conditions, in the order in which they were logged. A copy.</summary>
    /// <param name="level">The lowest level, by default any.</param>
    /// <param name="category">
    /// What the category begins with, case-sensitive: <c>Runnables.</c> for what runnables logged, <c>Puma.Dataflow.</c> for the library. Null, the default: any.
    /// </param>
    /// <param name="text">A part of the message, case-sensitive. Null, the default: any message.</param>
    public IReadOnlyList<FakeLogRecord> Select(LogLevel level = LogLevel.Trace, string? category = null, string? text = null) =>
    [
        .. Records.Where(r => r.Level >= level
            && CategoryOf(r).StartsWith(category ?? "", StringComparison.Ordinal)
            && r.Message.Contains(text ?? "", StringComparison.Ordinal)),
    ];

    /// <summary>The records as texts, in the order in which they were logged: <c>Level Category: Message</c>, and on further lines the exception, if there is one.</summary>
    public IReadOnlyList<string> Lines() => [.. Records.Select(LineOf)];

    /// <summary>Checks that nothing was logged from a level on.</summary>
    /// <param name="level">The lowest level that must not be there, by default <see cref="LogLevel.Warning"/>.</param>
    /// <param name="expected">
    /// Tells which records may be there all the same. Null, the default: none. It is called without a lock, and what it throws comes out of this method.
    /// </param>
    /// <exception cref="ProbeException">Other records are there; the message has them as in <see cref="Lines"/>.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The level is below the one from which this capture keeps records, so it cannot tell.</exception>
    public void AssertNothingAtOrAbove(LogLevel level = LogLevel.Warning, Func<FakeLogRecord, bool>? expected = null)
    {
        if (level < _minimumLevel)
            throw new ArgumentOutOfRangeException(nameof(level), level, $"This capture keeps records from {_minimumLevel} on, so it cannot tell what was logged at {level}. Open it with a lower minimum level.");
        List<FakeLogRecord> unexpected = [.. Select(level).Where(r => expected?.Invoke(r) is not true)];
        if (unexpected.Count > 0)
            throw new ProbeException($"Nothing was expected in the log at {level} or above, but there is:{Environment.NewLine}{string.Join(Environment.NewLine, unexpected.Select(LineOf))}");
    }

    /// <summary>Makes a logger. It may be used after the capture was disposed of, and then logs to those around it and in it that are still open.</summary>
    /// <param name="categoryName">The category of its records.</param>
    /// <exception cref="ArgumentNullException"><paramref name="categoryName"/> is null.</exception>
    public ILogger CreateLogger(string categoryName)
    {
        ArgumentNullException.ThrowIfNull(categoryName);
        return new Logger(this, _inbox.CreateLogger(categoryName));
    }

    /// <summary>Not supported: the capture is the only provider.</summary>
    /// <param name="provider">The provider.</param>
    /// <exception cref="ArgumentNullException"><paramref name="provider"/> is null.</exception>
    /// <exception cref="NotSupportedException">Always, otherwise.</exception>
    public void AddProvider(ILoggerProvider provider)
    {
        ArgumentNullException.ThrowIfNull(provider);
        throw new NotSupportedException("A LogCapture is the only provider of its loggers.");
    }

    /// <summary>Ends the capture: it keeps what it has, no more is added, and it shields no more. Captures around it and in it stay open. Further calls do nothing.</summary>
    public void Dispose()
    {
        lock (_gate)
            _open.Remove(this);
        _inbox.Dispose();
    }

    private static string CategoryOf(FakeLogRecord record) => record.Category ?? "";

    private static string LineOf(FakeLogRecord record)
    {
        string line = $"{record.Level} {CategoryOf(record)}: {record.Message}";
        return record.Exception is null ? line : line + Environment.NewLine + record.Exception;
    }

    /// <summary>Hands out what this capture's loggers have put into the inbox. What a call finds there may be of another thread, whose own call then finds nothing.</summary>
    private void HandOut()
    {
        lock (_gate)
        {
            foreach (FakeLogRecord record in _inbox.Collector.GetSnapshot(clear: true))
            {
                foreach (LogCapture keeper in _open.Where(c => Concerns(c) && !IsShieldedLocked(c)))
                    keeper._records.Add(record);
            }
        }
    }

    /// <summary>Whether what this capture's loggers log is for a capture: itself, one in it or one around it.</summary>
    private bool Concerns(LogCapture capture) => capture.IsWithin(this) || IsWithin(capture);

    private bool IsShieldedLocked(LogCapture capture) =>
        _open.Exists(c => c._shields && c != capture && c.IsWithin(capture) && Concerns(c));

    private bool IsWithin(LogCapture capture)
    {
        for (LogCapture? c = this; c is not null; c = c._outer)
        {
            if (c == capture)
                return true;
        }

        return false;
    }

    private sealed class Logger(LogCapture owner, FakeLogger inbox) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => inbox.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => logLevel >= owner._minimumLevel && logLevel != LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (!IsEnabled(logLevel))
                return;

            // User code (the formatter, the texts of the state) runs here, before the lock.
            inbox.Log(logLevel, eventId, state, exception, formatter);
            owner.HandOut();
        }
    }
}
