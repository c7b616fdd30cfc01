namespace Puma.Dataflow.Isolation.Transport;

/// <summary>Runs a loop on a thread of its own, which goes on although user code blocks all threads of the pool.</summary>
internal static class PumpThread
{
    private const int StackSize = 256 * 1024;

    /// <returns>Ends with the loop, which must not throw.</returns>
    public static Task Run(Action loop, string name)
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() =>
        {
            loop();
            ended.SetResult();
        }, StackSize)
        { Name = name, IsBackground = true }.Start();
        return ended.Task;
    }
}
