namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>Waits with a hard limit; the limit only ends a test that hangs, it never decides one.</summary>
internal static class Waiting
{
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    public static async Task Within(this Task task, TimeSpan? limit = null) =>
        await task.WaitAsync(limit ?? Limit, TestContext.Current.CancellationToken);

    public static async Task<T> Within<T>(this Task<T> task, TimeSpan? limit = null) =>
        await task.WaitAsync(limit ?? Limit, TestContext.Current.CancellationToken);

    public static Task Within(this ValueTask task) => task.AsTask().Within();

    /// <summary>Gives others time, where nothing tells that they are done. Too little of it makes a test see less, never fail.</summary>
    public static async Task LetOthersRunAsync()
    {
        for (int i = 0; i < 1000; i++)
            await Task.Yield();
    }

    /// <summary>
    /// Waits until a condition holds that nothing signals, for example a count of the library. Looks again at once at first, and then once
    /// in a millisecond, so that it does not keep from the processor what it waits for.
    /// </summary>
    public static Task UntilAsync(Func<bool> condition, string what) => UntilAsync(condition, () => what);

    /// <summary>The same with a text that is made when it is needed.</summary>
    public static async Task UntilAsync(Func<bool> condition, Func<string> what, TimeSpan? limit = null)
    {
        TimeSpan most = limit ?? Limit;
        long start = Environment.TickCount64;
        for (int looks = 1; !condition(); looks++)
        {
            if (Environment.TickCount64 - start >= most.TotalMilliseconds)
                Assert.Fail($"Did not happen within {most}: {what()}");
            if (looks < 100)
                await Task.Yield();
            else
                await Task.Delay(1);
        }
    }

    /// <summary>Tries again until something was seen that depends on what the machine does meanwhile.</summary>
    public static async Task UntilItIsSeenAsync(Func<Task<bool>> attempt, string what)
    {
        long start = Environment.TickCount64;
        while (!await attempt())
            Assert.True(Environment.TickCount64 - start < Limit.TotalMilliseconds, $"Was not seen within {Limit}: {what}");
    }

    /// <summary>Waits until objects are free. Looks seldom: each look stops all tests for a collection of the whole heap.</summary>
    public static async Task UntilFreeAsync(IReadOnlyCollection<WeakReference> objects, string what)
    {
        long start = Environment.TickCount64;
        while (true)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            int alive = objects.Count(static o => o.IsAlive);
            if (alive == 0)
                return;
            if (Environment.TickCount64 - start >= Limit.TotalMilliseconds)
                Assert.Fail($"{alive} of {objects.Count} are still alive after {Limit}: {what}");
            await Task.Delay(50);
        }
    }
}

/// <summary>A gate that opens once.</summary>
internal sealed class Gate
{
    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ManualResetEventSlim _event = new();

    public bool IsOpen => _opened.Task.IsCompleted;

    public void Open()
    {
        _event.Set();
        _opened.TrySetResult();
    }

    /// <summary>Waits until the gate is open; ends with a time-out if it never is.</summary>
    public Task WaitAsync(CancellationToken cancellationToken = default) => _opened.Task.WaitAsync(Waiting.Limit, cancellationToken);

    /// <summary>Blocks the thread until the gate is open.</summary>
    public void Block() => Assert.True(_event.Wait(Waiting.Limit), "The gate was never opened.");
}
