using System.Diagnostics;
using NLog;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>A log event that another process has logged: it shows that process, its thread and its time.</summary>
internal sealed class ForwardedEvent : LogEventInfo
{
    private static readonly StackTrace NoStack = new([]);

    public ForwardedEvent(LogRecord record)
        : base(NLog.LogLevel.FromOrdinal((int)record.Level), record.Category, record.Template ?? record.Message)
    {
        Record = record;
        TimeStamp = NLog.Time.TimeSource.Current.FromSystemTime(new DateTime(record.Time, DateTimeKind.Utc));
        MessageFormatter = static e => ((ForwardedEvent)e).Record.Message;
        Exception = record.ToException();
        foreach ((string key, object? value) in record.Properties)
            Properties[key] = value;
        if (record.CallSite is { } site)
            SetCallerInfo(site.Class, site.Method, site.File, site.Line);
        else
            SetStackTrace(NoStack); // or NLog would find the place where it is handed to NLog
    }

    public LogRecord Record { get; }
}
