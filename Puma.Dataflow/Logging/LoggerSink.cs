using System.Collections;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>Writes to the application's own logging. It takes no time of a record, so records have the time at which they arrive.</summary>
internal sealed class LoggerSink(ILoggerFactory loggers) : LogSink
{
    public override void Write(LogRecord record, bool isRecovered)
    {
        ILogger logger = loggers.CreateLogger(record.Category);
        if (!logger.IsEnabled(record.Level))
            return;
        var scopes = new Stack<IDisposable?>();
        try
        {
            scopes.Push(logger.BeginScope(ScopeOf(record, isRecovered)));
            foreach (string text in record.ScopeTexts)
                scopes.Push(logger.BeginScope(text));
            logger.Log(record.Level, EventOf(record), new State(record), record.ToException(), static (state, _) => state.ToString());
        }
        finally
        {
            foreach (IDisposable? scope in scopes)
                scope?.Dispose();
        }
    }

    protected override bool IsEnabled(string category, LogLevel level) => loggers.CreateLogger(category).IsEnabled(level);

    private static EventId EventOf(LogRecord record) => new(
        record.Properties.FirstOrDefault(static p => p.Key == LogRecord.EventIdName).Value as int? ?? 0,
        record.Properties.FirstOrDefault(static p => p.Key == LogRecord.EventNameName).Value as string);

    /// <summary>A record as the state of a log call.</summary>
    private sealed class State(LogRecord record) : IReadOnlyList<KeyValuePair<string, object?>>
    {
        private readonly List<KeyValuePair<string, object?>> _values =
        [
            .. record.Properties.Where(static p => p.Key is not (LogRecord.EventIdName or LogRecord.EventNameName)),
            new(LogRecord.TemplateName, record.Template ?? record.Message),
        ];

        public int Count => _values.Count;

        public KeyValuePair<string, object?> this[int index] => _values[index];

        public IEnumerator<KeyValuePair<string, object?>> GetEnumerator() => _values.GetEnumerator();

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

        public override string ToString() => record.Message;
    }
}
