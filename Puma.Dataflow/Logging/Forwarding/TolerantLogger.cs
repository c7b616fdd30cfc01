using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>A logger to which nothing that is logged is fatal: what cannot be formatted is logged as far as it can be told.</summary>
internal sealed class TolerantLogger(ILogger inner) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => inner.BeginScope(state);

    public bool IsEnabled(LogLevel logLevel) => inner.IsEnabled(logLevel);

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        try
        {
            inner.Log(logLevel, eventId, state, exception, formatter);
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            string text = TextOf(state, error);
            inner.Log(logLevel, eventId, text, exception, static (t, _) => t);
        }
    }

    private static string TextOf<TState>(TState state, Exception error)
    {
        string? template = (state as IEnumerable<KeyValuePair<string, object?>>)?.LastOrDefault(static p => p.Key == "{OriginalFormat}").Value as string;
        return $"{template ?? LogValue.TextOf(state)} (could not be formatted: {error.GetType().Name})";
    }
}
