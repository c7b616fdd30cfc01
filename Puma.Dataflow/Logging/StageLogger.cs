using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Logging;

/// <summary>
/// What user code logs with in this process: says with each record where it was logged, and is fatal to nobody: what cannot be formatted
/// is logged as far as it can be told.
/// </summary>
/// <param name="inner">The logger of the stage's category.</param>
internal sealed class StageLogger(ILogger inner) : ILogger
{
    /// <summary>Names of the values of the scope; see docs/logging.md.</summary>
    public const string Stage = "puma.stage", Item = "puma.item";

    /// <summary>What the user code knows of its stage. Set before there is any.</summary>
    public StageContext Context { get; set; } = null!;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => inner.BeginScope(state);

    public bool IsEnabled(LogLevel logLevel) => inner.IsEnabled(logLevel);

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!inner.IsEnabled(logLevel))
            return;
        Func<TState, Exception?, string> tolerant = new TolerantFormatter<TState>(formatter).Format;
        using (inner.BeginScope(new Place(Context)))
        {
            try
            {
                inner.Log(logLevel, eventId, state, exception, tolerant);
            }
            catch (Exception error) when (error is not OutOfMemoryException && !LogPairs.TryRead(state, out _))
            {
                // Its values cannot be read, which is all that is wrong; its text can be told, and the values as far as they can be read.
                inner.Log(logLevel, eventId, LogPairs.Of(state), exception, (_, _) => tolerant(state, exception));
            }
        }
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
}
