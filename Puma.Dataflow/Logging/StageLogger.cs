using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>
/// What user code logs with: says with each record where it was logged, and is fatal to nobody: what cannot be formatted is logged as
/// far as it can be told.
/// </summary>
/// <param name="inner">The logger of the stage's category.</param>
/// <param name="context">What the user code knows of its stage.</param>
internal sealed class StageLogger(ILogger inner, StageContext context) : ILogger
{
    /// <summary>Names of the values of the scope; see docs/logging.md.</summary>
    public const string Stage = "puma.stage", Item = "puma.item";

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => inner.BeginScope(state);

    public bool IsEnabled(LogLevel logLevel) => inner.IsEnabled(logLevel);

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!inner.IsEnabled(logLevel))
            return;
        using (inner.BeginScope(new Place(context)))
            inner.Log(logLevel, eventId, state, exception, new TolerantFormatter<TState>(formatter).Format);
    }

    /// <summary>The scope of a record. A list that is no text of its own in NLog's nested scopes.</summary>
    private sealed class Place : List<KeyValuePair<string, object?>>
    {
        public Place(StageContext context)
            : base(2)
        {
            Add(new(Stage, context.StageName));
            Add(new(Item, context.ItemNumber));
        }

        public override string ToString() => $"{this[0].Value}, item {this[1].Value}";
    }

    private sealed class TolerantFormatter<TState>(Func<TState, Exception?, string> inner)
    {
        public string Format(TState state, Exception? exception)
        {
            try
            {
                return inner(state, exception);
            }
            catch (Exception error) when (error is not OutOfMemoryException)
            {
                string? template = (state as IEnumerable<KeyValuePair<string, object?>>)?.LastOrDefault(static p => p.Key == LogRecord.TemplateName).Value as string;
                return $"{template ?? LogValue.TextOf(state)} (could not be formatted: {error.GetType().Name})";
            }
        }
    }
}
