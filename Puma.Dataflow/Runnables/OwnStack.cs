namespace Puma.Dataflow.Runnables;

/// <summary>
/// Who ends the wait of user code may be user code as well, for example under a lock, and goes on only when what awaits it has returned: nothing
/// further may run on his stack.
/// </summary>
internal static class OwnStack
{
    /// <summary>Waits for user code; behind a wait of it the caller goes on on the thread pool.</summary>
    public static ValueTask OnOwnStackAsync(this ValueTask code) => code.IsCompleted ? code : WaitAsync(code);

    private static async ValueTask WaitAsync(ValueTask code)
    {
        try
        {
            await code.ConfigureAwait(false);
        }
        finally
        {
            await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        }
    }
}
