using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>
/// How long the attempt in work has taken without its waits for slots, measured where it runs. The parent tells when the time is up; this
/// catches what ends too late before the parent, which may be short of processor time, has noticed. Any thread.
/// </summary>
/// <param name="time">The clock, which is the parent's, too.</param>
/// <param name="limit">How long it may take.</param>
internal sealed class AttemptTime(TimeProvider time, TimeSpan limit) : IItemClock
{
    private readonly Lock _gate = new();

    // Guarded by _gate. Since when the time runs, and how much of it was left then.
    private bool _isRunning;
    private long _since;
    private TimeSpan _left;
    private int _pauses;

    public bool HasRunOut
    {
        get
        {
            lock (_gate)
                return _isRunning && (_left <= TimeSpan.Zero || (_pauses == 0 && time.GetElapsedTime(_since) >= _left));
        }
    }

    public void Begin()
    {
        lock (_gate)
            (_isRunning, _since, _left, _pauses) = (true, time.GetTimestamp(), limit, 0);
    }

    /// <summary>No attempt is in work: what is emitted now belongs to none.</summary>
    public void End()
    {
        lock (_gate)
            _isRunning = false;
    }

    public void Pause()
    {
        lock (_gate)
        {
            if (_isRunning && ++_pauses == 1)
                _left -= time.GetElapsedTime(_since);
        }
    }

    public void Resume()
    {
        lock (_gate)
        {
            // An emit that was not awaited may wait for longer than its item.
            if (_pauses > 0 && --_pauses == 0)
                _since = time.GetTimestamp();
        }
    }
}
