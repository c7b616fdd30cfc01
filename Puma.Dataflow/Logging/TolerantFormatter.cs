using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>A formatter that does not throw: what cannot be formatted is said as far as it can be told.</summary>
internal sealed class TolerantFormatter<TState>(Func<TState, Exception?, string> inner)
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
