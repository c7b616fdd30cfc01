using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Sends what user code logs to the parent. Any thread.</summary>
internal sealed class ChildLogger(FrameChannel control, LogLevel least) : ILogger
{
    /// <summary>How much of errors is written to a congested connection, in bytes; about four times of what congests it is the most that ever waits.</summary>
    private const int MostErrors = 3 * 1024 * 1024;

    private long _dropped;

    // Bytes of errors that were written since the connection became congested.
    private long _errors;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= least && logLevel != LogLevel.None;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
            return;

        // A flood must neither fill the memory nor stop the items.
        bool isCongested = control.IsCongested;
        if (isCongested && (logLevel < LogLevel.Error || Volatile.Read(ref _errors) > MostErrors))
        {
            Interlocked.Increment(ref _dropped);
            return;
        }

        if (!isCongested)
        {
            Volatile.Write(ref _errors, 0);
            TellDropped();
        }

        long length = Send(new LogRecord(logLevel, eventId.Id, eventId.Name, formatter(state, exception), exception is null ? null : ErrorRecord.Of(exception)));
        if (isCongested)
            Interlocked.Add(ref _errors, length);
    }

    /// <summary>Tells how many records were dropped, if any were.</summary>
    public void TellDropped()
    {
        if (Interlocked.Exchange(ref _dropped, 0) is > 0 and long dropped)
            Send(new LogRecord(LogLevel.Warning, 0, null, $"{dropped} log records were dropped because they came faster than they could be written.", null));
    }

    /// <returns>The length of the record in bytes.</returns>
    private int Send(LogRecord record)
    {
        var fields = new FieldWriter();
        record.WriteTo(fields);
        control.Write(FrameType.Log, payload: fields.Written);
        control.Flush();
        return fields.Length;
    }
}
