using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>
/// Measures the time of the item that one instance handles, in two phases: the item's time-out, after which its handler is told, and the
/// abort time-out, after which it is given up. Stands still while the handler waits for a slot. Any thread.
/// </summary>
internal abstract class ItemTimer : IItemClock, IDisposable
{
    private readonly TimeProvider _time;
    private readonly ITimer _timer;

    // Guarded by Gate.
    private long _itemNumber;
    private int _attempt;
    private bool _isRunning;
    private bool _hasFired;

    // Of the phase that runs.
    private TimeLeft _left;

    protected ItemTimer(TimeProvider time, TimeSpan itemTimeout, TimeSpan abortTimeout)
    {
        (_time, ItemTimeout, AbortTimeout) = (time, itemTimeout, abortTimeout);
        _timer = time.CreateTimer(static state => ((ItemTimer)state!).OnTimer(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    protected Lock Gate { get; } = new();

    /// <summary>How long an attempt may take; infinite for ever.</summary>
    protected TimeSpan ItemTimeout { get; }

    /// <summary>How long the handler may take to return after it was told.</summary>
    protected TimeSpan AbortTimeout { get; }

    public bool HasRunOut
    {
        get
        {
            lock (Gate)
                return _isRunning && _hasFired;
        }
    }

    public void Pause()
    {
        lock (Gate)
        {
            if (_isRunning && _left.Pause())
                _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }

    public void Resume()
    {
        lock (Gate)
        {
            if (_isRunning && _left.Resume())
                SetTimerLocked();
        }
    }

    /// <summary>Ends the time of an attempt.</summary>
    /// <returns>Whether it had run out.</returns>
    public bool Stop()
    {
        lock (Gate)
        {
            // A timer may be late; the time has run out all the same.
            bool hasRunOut = _hasFired || (_isRunning && _left.IsUp);
            _isRunning = false;
            _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            return hasRunOut;
        }
    }

    public virtual void Dispose()
    {
        lock (Gate)
            _isRunning = false;
        _timer.Dispose();
    }

    protected void StartLocked(long itemNumber, int attempt)
    {
        (_itemNumber, _attempt, _isRunning, _hasFired) = (itemNumber, attempt, true, false);
        RunLocked(ItemTimeout);
    }

    /// <summary>Tells the handler. Inside of the gate, so that it does not hit the next attempt.</summary>
    protected abstract void OnTimeUpLocked(long itemNumber, int attempt);

    /// <summary>Decides that the handler is given up. Inside of the gate, so that one which returns now does not go on with what is being given up.</summary>
    protected virtual void OnOverdueLocked() { }

    /// <summary>Gives the handler up.</summary>
    protected abstract void OnOverdue(long itemNumber, int attempt);

    private void RunLocked(TimeSpan limit)
    {
        _left = new TimeLeft(_time, limit);
        SetTimerLocked();
    }

    private void SetTimerLocked() => _timer.Change(_left.Left, Timeout.InfiniteTimeSpan);

    private void OnTimer()
    {
        long itemNumber;
        int attempt;
        lock (Gate)
        {
            if (!_isRunning || _left.IsPaused)
                return;

            // A call that was on its way when the item before this one ended.
            if (!_left.IsUp)
            {
                SetTimerLocked();
                return;
            }

            if (!_hasFired)
            {
                _hasFired = true;
                RunLocked(AbortTimeout);
                OnTimeUpLocked(_itemNumber, _attempt);
                return;
            }

            _isRunning = false;
            (itemNumber, attempt) = (_itemNumber, _attempt);
            OnOverdueLocked();
        }

        OnOverdue(itemNumber, attempt);
    }
}
