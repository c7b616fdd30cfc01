using System.Diagnostics.CodeAnalysis;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>
/// Signals in a millisecond what its caller means to signal earlier, together with more of the same: what has gathered does not wait for
/// long when user code keeps him. Any thread.
/// </summary>
/// <remarks>One thread for the process signals all of them, because user code may block all threads of the pool.</remarks>
/// <param name="signal">Makes others look at what has gathered. Must neither block nor throw.</param>
internal sealed class LateSignal(Action signal)
{
    private static readonly TimeSpan Late = TimeSpan.FromMilliseconds(1);

    private static readonly Lock s_gate = new();
    private static readonly AutoResetEvent s_isFirst = new(false);

    // Guarded by s_gate: in the order in which they are due.
    private static readonly Queue<(LateSignal Signal, long Since)> s_due = [];
    private static Thread? s_thread;

    // 1 while it is due. It is set by full fences: who finds it set has changed something that the signal will see.
    private int _isDue;

    /// <summary>Signals soon. After what is to be seen has changed.</summary>
    public void Soon()
    {
        if (Interlocked.Exchange(ref _isDue, 1) != 0)
            return;
        lock (s_gate)
        {
            s_due.Enqueue((this, TimeProvider.System.GetTimestamp()));

            // With others before it, the thread comes by anyway.
            if (s_due.Count > 1)
                return;
            if (s_thread is null)
            {
                var thread = new Thread(SignalAll) { IsBackground = true, Name = "puma-late-signals" };
                thread.UnsafeStart();
                s_thread = thread;
            }
        }

        s_isFirst.Set();
    }

    private static void SignalAll()
    {
        while (true)
        {
            s_isFirst.WaitOne();
            while (TryPeek(out LateSignal? first, out TimeSpan early))
            {
                // For a whole millisecond: less would be no wait at all.
                if (early > TimeSpan.Zero)
                {
                    s_isFirst.WaitOne(Late);
                    continue;
                }

                lock (s_gate)
                    s_due.Dequeue();
                first.Signal();
            }
        }
    }

    /// <param name="first">The signal that is due first.</param>
    /// <param name="early">How much too early it is for it.</param>
    private static bool TryPeek([NotNullWhen(true)] out LateSignal? first, out TimeSpan early)
    {
        lock (s_gate)
        {
            bool isAny = s_due.TryPeek(out (LateSignal Signal, long Since) due);
            (first, early) = (due.Signal, isAny ? Late - TimeProvider.System.GetElapsedTime(due.Since) : default);
            return isAny;
        }
    }

    private void Signal()
    {
        Interlocked.Exchange(ref _isDue, 0);
        signal();
    }
}
