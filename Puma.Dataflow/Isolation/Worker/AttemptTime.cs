using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>
/// How long the attempt in work has taken without its waits for slots, measured where it runs. The parent tells when the time is up; this
/// catches what ends too late before the parent, which may be short of processor time, has noticed. Any thread.
/// </summary>
/// <param name="time">The clock, which is the parent's, too.</param>
/// <param name="limit">How long it may take.</param>
internal sealed class AttemptTime(TimeProvider time, TimeSpan limit)
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private bool _isRunning;
    private TimeLeft _left;

    public bool HasRunOut
    {
        get
        {
            lock (_gate)
                return _isRunning && _left.IsUp;
        }
    }

    public void Begin()
    {
        lock (_gate)
            (_isRunning, _left) = (true, new TimeLeft(time, limit));
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
            if (_isRunning)
                _left.Pause();
        }
    }

    public void Resume()
    {
        lock (_gate)
        {
            if (_isRunning)
                _left.Resume();
        }
    }
}
