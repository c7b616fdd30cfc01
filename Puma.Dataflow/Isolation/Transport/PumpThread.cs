namespace Puma.Dataflow.Isolation.Transport;

/// <summary>Runs a loop on a thread of its own, which goes on although user code blocks all threads of the pool.</summary>
internal static class PumpThread
{
    private const int StackSize = 256 * 1024;

    /// <returns>Ends with the loop, and as that does.</returns>
    public static Task RunAsync(Action loop, string name)
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() =>
        {
            try
            {
                loop();
                ended.SetResult();
            }
            catch (Exception error)
            {
                ended.SetException(error);
            }
        }, StackSize)
        { Name = name, IsBackground = true }.Start();
        return ended.Task;
    }
}
