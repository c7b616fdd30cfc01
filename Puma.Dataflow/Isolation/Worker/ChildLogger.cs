using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Sends what user code logs to the parent. Any thread.</summary>
internal sealed class ChildLogger(FrameChannel control, LogLevel least) : ILogger
{
    private long _dropped;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= least && logLevel != LogLevel.None;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
            return;

        // A flood must neither fill the memory nor stop the items.
        if (control.IsCongested && logLevel < LogLevel.Error)
        {
            Interlocked.Increment(ref _dropped);
            return;
        }

        if (Interlocked.Exchange(ref _dropped, 0) is > 0 and long dropped)
            Send(new LogRecord(LogLevel.Warning, 0, null, $"{dropped} log records were dropped because they came faster than they could be written.", null));
        Send(new LogRecord(logLevel, eventId.Id, eventId.Name, formatter(state, exception), exception is null ? null : ErrorRecord.Of(exception)));
    }

    private void Send(LogRecord record)
    {
        var fields = new FieldWriter();
        record.WriteTo(fields);
        control.Write(FrameType.Log, payload: fields.Written);
        control.Flush();
    }
}
