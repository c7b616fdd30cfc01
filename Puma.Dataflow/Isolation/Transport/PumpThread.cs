namespace Puma.Dataflow.Isolation.Transport;

/// <summary>Runs what may block on a thread of its own, which goes on although user code blocks all threads of the pool.</summary>
internal static class PumpThread
{
    /// <returns>Ends with the loop, and as that does.</returns>
    public static Task RunAsync(Action loop, string name)
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Start(() =>
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
        }, name);
        return ended.Task;
    }

    /// <summary>With a stack of the usual length: user code may run there.</summary>
    /// <param name="loop">Must not throw.</param>
    /// <param name="name">The thread's.</param>
    public static void Start(Action loop, string name) => new Thread(loop.Invoke) { Name = name, IsBackground = true }.UnsafeStart();
}
