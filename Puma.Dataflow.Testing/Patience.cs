using System.Diagnostics;

namespace Puma.Dataflow.Testing;

/// <summary>Ends waits that a broken test would otherwise hang in. The limit is real time and never decides a verdict.</summary>
internal static class Patience
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>Waits for a task, but not for ever.</summary>
    public static async Task WaitAsync(Task task, Func<string> describe)
    {
        try
        {
            await task.WaitAsync(Debugger.IsAttached ? Timeout.InfiniteTimeSpan : Limit, TimeProvider.System).ConfigureAwait(false);
        }
        catch (TimeoutException) when (!task.IsCompleted)
        {
            throw new TimeoutException($"Nothing happened within {Limit.TotalSeconds:0} s. {describe()}");
        }
    }
}
