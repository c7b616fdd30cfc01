namespace Puma.Dataflow;

/// <summary>
/// The rhythm of a runnable's ticks. The ticks lie on the grid of the first one: a late tick neither moves the next ones nor makes up
/// for those that were missed. Safe for any thread.
/// </summary>
public sealed class TickSchedule
{
    private readonly Lock _gate = new();
    private readonly TimeProvider _time;
    private readonly Action _onDue;
    private readonly long _origin;

    // Guarded by _gate. Times are counted from _origin.
    private ITimer? _timer;
    private TimeSpan? _interval;
    private TimeSpan _last;
    private TimeSpan _next;
    private bool _isPaused;
    private bool _isEnded;

    internal TickSchedule(TimeProvider time, TimeSpan? interval, bool paused, Action onDue)
    {
        _time = time;
        _interval = interval;
        _isPaused = paused;
        _onDue = onDue;
        _origin = time.GetTimestamp();
    }

    /// <summary>The time between two ticks; null for none. A change counts from the last tick on.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is zero, negative or too long for a timer.</exception>
    public TimeSpan? Interval
    {
        get
        {
            lock (_gate)
                return _interval;
        }

        set
        {
            CheckInterval(value, nameof(value));
            lock (_gate)
            {
                TimeSpan now = Now;
                if (_interval is null)
                    _last = now;
                _interval = value;
                if (value is { } changed)
                    _next = _last + changed > now ? _last + changed : now;
                ArmLocked();
            }
        }
    }

    /// <summary>Whether the ticks are paused.</summary>
    public bool IsPaused
    {
        get
        {
            lock (_gate)
                return _isPaused;
        }
    }

    /// <summary>The time until the next tick; null when there is none.</summary>
    internal TimeSpan? UntilNext
    {
        get
        {
            lock (_gate)
                return _isEnded || _isPaused || _interval is null || _timer is null ? null : _next - Now;
        }
    }

    private TimeSpan Now => _time.GetElapsedTime(_origin);

    /// <summary>Stops the ticks until <see cref="Resume"/>. Does nothing when they are paused.</summary>
    public void Pause()
    {
        lock (_gate)
        {
            _isPaused = true;
            ArmLocked();
        }
    }

    /// <summary>Starts the ticks again; the next one comes after a full interval. Does nothing when they run.</summary>
    public void Resume()
    {
        lock (_gate)
        {
            if (!_isPaused)
                return;
            _isPaused = false;
            RestartLocked();
        }
    }

    internal static void CheckInterval(TimeSpan? value, string name)
    {
        if (value is { } interval && (interval <= TimeSpan.Zero || interval > TimeLimits.Longest))
            throw new ArgumentOutOfRangeException(name, interval, $"The time between two ticks must be positive and at most {TimeLimits.Longest}, or null for no ticks.");
    }

    internal void Start()
    {
        lock (_gate)
        {
            _timer = _time.CreateTimer(static state => ((TickSchedule)state!)._onDue(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            RestartLocked();
        }
    }

    internal void End()
    {
        lock (_gate)
        {
            _isEnded = true;
            _timer?.Dispose();
        }
    }

    /// <summary>Whether a tick is due; when it is not, because the timer fired a little early, the timer is armed again.</summary>
    internal bool IsDue()
    {
        lock (_gate)
        {
            if (_isEnded || _isPaused || _interval is null || _timer is null)
                return false;
            bool isDue = Now >= _next;
            if (!isDue)
                ArmLocked();
            return isDue;
        }
    }

    /// <summary>Takes the tick that is due and schedules the next one.</summary>
    internal bool TryTake()
    {
        lock (_gate)
        {
            if (_isEnded || _isPaused || _interval is not { } interval || _timer is null)
                return false;
            TimeSpan now = Now;
            bool isDue = now >= _next;
            if (isDue)
            {
                long missed = (now - _next).Ticks / interval.Ticks;
                _last = _next + TimeSpan.FromTicks(missed * interval.Ticks);
                _next = _last + interval;
            }

            // A timer may also fire a little early; then it is armed again for the rest.
            ArmLocked();
            return isDue;
        }
    }

    private void RestartLocked()
    {
        _last = Now;
        _next = _last + (_interval ?? TimeSpan.Zero);
        ArmLocked();
    }

    private void ArmLocked()
    {
        if (_isEnded || _timer is null)
            return;
        if (_isPaused || _interval is null)
        {
            _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            return;
        }

        TimeSpan due = _next - Now;
        _timer.Change(due > TimeSpan.Zero ? due : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
    }
}
