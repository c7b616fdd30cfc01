using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>A logger of a child: hands what is logged there to its parent, in the form that NLog's loggers give to a record.</summary>
internal sealed class ForwardingLogger(string category, ChildLogging logging) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => logging.Scopes.Push(state);

    public bool IsEnabled(LogLevel logLevel) => logLevel < LogLevel.None && logging.Levels.Wants(category, (int)logLevel);

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel) || logging.Sender.TryDrop(logLevel))
            return;
        List<KeyValuePair<string, object?>> properties = LogPairs.Of(state);
        string? template = null;
        for (int i = properties.Count - 1; i >= 0; i--)
        {
            if (properties[i].Key != LogRecord.TemplateName)
                continue;
            template ??= properties[i].Value as string;
            properties.RemoveAt(i);
        }

        if (eventId.Id != 0)
            properties.Add(new(LogRecord.EventIdName, eventId.Id));
        if (eventId.Name is not null)
            properties.Add(new(LogRecord.EventNameName, eventId.Name));
        string message = new TolerantFormatter<TState>(formatter).Format(state, exception);
        logging.Sender.Send(logging.NewRecord(logLevel, category, TimeProvider.System.GetUtcNow().UtcDateTime, message, template, properties, exception));
    }
}
