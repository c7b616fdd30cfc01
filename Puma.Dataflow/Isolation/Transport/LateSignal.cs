namespace Puma.Dataflow.Isolation.Transport;

/// <summary>
/// Signals in a millisecond what its caller means to signal earlier, together with more of the same: what has gathered does not wait for
/// long when user code keeps him. Any thread.
/// </summary>
internal sealed class LateSignal : IDisposable
{
    public static readonly TimeSpan Late = TimeSpan.FromMilliseconds(1);

    private readonly ITimer _timer;

    // 1 while the timer runs. It is set by full fences: who finds it set has changed something that the signal will see.
    private int _isDue;

    /// <param name="signal">Makes others look at what has gathered. On a thread of the pool.</param>
    public LateSignal(Action signal) => _timer = TimeProvider.System.CreateTimer(
        _ =>
        {
            Interlocked.Exchange(ref _isDue, 0);
            signal();
        },
        null,
        Timeout.InfiniteTimeSpan,
        Timeout.InfiniteTimeSpan);

    /// <summary>Signals soon. After what is to be seen has changed.</summary>
    public void Soon()
    {
        if (Interlocked.Exchange(ref _isDue, 1) == 0)
            _timer.Change(Late, Timeout.InfiniteTimeSpan);
    }

    public void Dispose() => _timer.Dispose();
}
