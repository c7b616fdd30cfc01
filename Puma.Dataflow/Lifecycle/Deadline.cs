namespace Puma.Dataflow.Lifecycle;

/// <summary>Calls back at a time that may be set and set again, until the run has ended. Any thread.</summary>
internal sealed class Deadline(TimeProvider time, Action onPassed)
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private ITimer? _timer;
    private bool _hasEnded;

    /// <summary>Calls back after a time, instead of when it was set to before.</summary>
    public void Set(TimeSpan due)
    {
        // Outside of the lock: a timer that is due at once may call back before it is there.
        ITimer? obsolete = time.CreateTimer(static state => ((Action)state!)(), onPassed, due, Timeout.InfiniteTimeSpan);
        lock (_gate)
        {
            if (!_hasEnded)
                (obsolete, _timer) = (_timer, obsolete);
        }

        obsolete?.Dispose();
    }

    /// <summary>The run has ended: nothing is set any more. A call back that is on its way still comes, and finds the run ended.</summary>
    public void End()
    {
        lock (_gate)
        {
            _hasEnded = true;
            _timer?.Dispose();
        }
    }
}
