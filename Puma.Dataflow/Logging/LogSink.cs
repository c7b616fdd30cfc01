using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>Where what children have logged is written: as if it had been logged here, with their values. Any thread; members throw what the application's logging throws.</summary>
internal abstract class LogSink
{
    /// <summary>Whether the place in the code is shown.</summary>
    public virtual bool WantsCallSite => false;

    /// <summary>The lowest level that any category may have.</summary>
    public virtual LogLevel Least => LogLevel.Trace;

    public static LogSink Of(ILoggerFactory loggers) => DefaultLogging.IsMadeBy(loggers) ? NLogSink.Instance : new LoggerSink(loggers);

    /// <summary>The lowest level of a category that is written.</summary>
    public LogLevel LeastOf(string category)
    {
        LogLevel level = LogLevel.Trace;
        while (level < LogLevel.None && !IsEnabled(category, level))
            level++;
        return level;
    }

    /// <param name="record">What was logged.</param>
    /// <param name="isRecovered">Whether it was found after its process had died.</param>
    public abstract void Write(LogRecord record, bool isRecovered);

    protected abstract bool IsEnabled(string category, LogLevel level);

    /// <summary>The scope of a record: that of the child, and who it was.</summary>
    protected static List<KeyValuePair<string, object?>> ScopeOf(LogRecord record, bool isRecovered)
    {
        List<KeyValuePair<string, object?>> scope = [.. record.ScopeProperties];
        Add("puma.pid", record.ProcessId);
        if (record.ThreadId != 0)
            Add("puma.thread", record.ThreadId);
        if (record.TraceId is not null)
        {
            Add("TraceId", record.TraceId);
            Add("SpanId", record.SpanId);
        }

        if (isRecovered)
            Add("puma.recovered", true);
        return scope;

        void Add(string key, object? value)
        {
            if (!scope.Exists(p => p.Key == key))
                scope.Add(new(key, value));
        }
    }
}
