using NLog;
using NLog.Common;
using NLog.Targets;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>The one NLog target of a child: hands what is logged there to its parent.</summary>
internal sealed class ForwardingTarget(ChildLogging logging) : Target
{
    /// <summary>Without the lock of the target: the sender may wait until the control connection goes on, which needs that lock to change levels.</summary>
    protected override void WriteAsyncThreadSafe(AsyncLogEventInfo logEvent) => Write(logEvent);

    protected override void Write(LogEventInfo logEvent)
    {
        // The levels of NLog may be behind those that the parent wants.
        var level = (Microsoft.Extensions.Logging.LogLevel)logEvent.Level.Ordinal;
        if (!logging.Levels.Wants(logEvent.LoggerName ?? "", (int)level) || logging.Sender.TryDrop(level))
            return;
        KeyValuePair<string, object?>[] properties = logEvent.HasProperties ? [.. logEvent.Properties.Select(static p => new KeyValuePair<string, object?>(LogValue.TextOf(p.Key), p.Value))] : [];
        LogRecord record = logging.NewRecord(level, logEvent.LoggerName ?? "", logEvent.TimeStamp.ToUniversalTime(), MessageOf(logEvent), logEvent.Message, properties, logEvent.Exception);

        // A child of this child says of itself where its records come from; its parent has put that into the scope.
        logging.Sender.Send(logEvent is ForwardedEvent forwarded ? forwarded.Record with { ScopeProperties = record.ScopeProperties } : record);
    }

    /// <summary>The text; objects in it may throw.</summary>
    private static string MessageOf(LogEventInfo logEvent)
    {
        try
        {
            return logEvent.FormattedMessage ?? "";
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            return LogFailure.NotFormatted(logEvent.Message, error);
        }
    }
}
