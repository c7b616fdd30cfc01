using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>Calls a test back at each record, on the thread that logs, before it hands the record on; and when a logger is made, if the test wants.</summary>
internal sealed class HookedLog(ILoggerFactory inner, Action<string, int> hook, Action<string>? onCreate = null) : ILoggerFactory
{
    public ILogger CreateLogger(string categoryName)
    {
        onCreate?.Invoke(categoryName);
        return new Hooked(this, categoryName, inner.CreateLogger(categoryName));
    }

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    public void Dispose() { }

    private Action<string, int> Hook => hook;

    private sealed class Hooked(HookedLog owner, string category, ILogger logger) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            owner.Hook(category, eventId.Id);
            logger.Log(logLevel, eventId, state, exception, formatter);
        }
    }
}
