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
            return LogFailure.NotFormatted(TemplateOf(state) ?? LogValue.TextOf(state), error);
        }
    }

    /// <summary>The template, which a state of <c>ILogger</c> has at its end, although its values may not let themselves be read.</summary>
    private static string? TemplateOf(TState state)
    {
        try
        {
            return state is IReadOnlyList<KeyValuePair<string, object?>> { Count: > 0 and var count } list && list[count - 1] is (LogRecord.TemplateName, string template) ? template : null;
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            return null;
        }
    }
}
