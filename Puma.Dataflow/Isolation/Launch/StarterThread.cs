using System.Collections.Concurrent;

namespace Puma.Dataflow.Isolation.Launch;

/// <summary>
/// The one thread that starts all children and never ends. A start blocks until the new program was loaded, so no pool thread does it; and
/// what Linux ties to the parent of a process, it ties to the *thread* that started it (PR_SET_PDEATHSIG of prctl(2)), which user code in a
/// child may ask for.
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
