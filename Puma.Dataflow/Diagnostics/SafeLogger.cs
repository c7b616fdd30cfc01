using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Diagnostics;

/// <summary>The logger of the library's own events. A logger of the application that throws must not get into the ending of a run. Any thread.</summary>
/// <param name="inner">The application's logger.</param>
/// <param name="onFailure">Is told of each exception.</param>
internal sealed class SafeLogger(ILogger inner, Action<Exception> onFailure) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel)
    {
        try
        {
            return inner.IsEnabled(logLevel);
        }
        catch (Exception error)
        {
            onFailure(error);
            return false;
        }
    }

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        try
        {
            inner.Log(logLevel, eventId, state, exception, formatter);
        }
        catch (Exception error)
        {
            onFailure(error);
        }
    }
}
