namespace Puma.Dataflow.Logging;

/// <summary>The names and values of a state or a scope. Whoever made it, reading it fails nobody: a value of its own says why the rest is missing.</summary>
internal static class LogPairs
{
    public static List<KeyValuePair<string, object?>> Of(object? state)
    {
        TryRead(state, out List<KeyValuePair<string, object?>> pairs);
        return pairs;
    }

    /// <returns>False when it does not let itself be read to its end.</returns>
    public static bool TryRead(object? state, out List<KeyValuePair<string, object?>> pairs)
    {
        pairs = [];
        try
        {
            foreach (KeyValuePair<string, object?> pair in state as IEnumerable<KeyValuePair<string, object?>> ?? [])
                pairs.Add(pair);
            return true;
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            pairs.Add(new(LogFailure.Unreadable, LogFailure.NotRead(error)));
            return false;
        }
    }
}
