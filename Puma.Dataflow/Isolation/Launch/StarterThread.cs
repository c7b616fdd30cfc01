using System.Collections.Concurrent;

namespace Puma.Dataflow.Isolation.Launch;

/// <summary>
/// The one thread that starts all children and never ends. Linux kills a child with its parent (PR_SET_PDEATHSIG) when the *thread* that
/// started it ends, so a pool thread must not do it.
/// </summary>
internal static class StarterThread
{
    private static readonly BlockingCollection<Action> Queue = Begin();

    public static Task<T> RunAsync<T>(Func<T> start)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        Queue.Add(() =>
        {
            try
            {
                done.SetResult(start());
            }
            catch (Exception error)
            {
                done.SetException(error);
            }
        });
        return done.Task;
    }

    private static BlockingCollection<Action> Begin()
    {
        var queue = new BlockingCollection<Action>();
        new Thread(() =>
        {
            foreach (Action start in queue.GetConsumingEnumerable())
                start();
        })
        { Name = "puma-starter", IsBackground = true }.Start();
        return queue;
    }
}
