namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>
/// A clock that moves when a test says so. When <see cref="Advance"/> returns, every timer that has become due has called back, whoever
/// reads the clock or sets another timer meanwhile; with a <c>FakeTimeProvider</c> one who reads it then may call back in its place, and later.
/// </summary>
/// <remarks>Safe for any thread, but one at a time advances it. Callbacks may overlap, as those of the system's timers do.</remarks>
internal sealed class TestClock : TimeProvider
{
    private readonly Lock _gate = new();

    // Guarded by _gate, in the order in which they were set. The time is read without it.
    private readonly List<Timer> _timers = [];
    private long _now = new DateTime(2000, 1, 1).Ticks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Volatile.Read(ref _now);

    public override DateTimeOffset GetUtcNow() => new(GetTimestamp(), TimeSpan.Zero);

    /// <summary>Moves the clock, and then calls back for the timers that are due, the earliest first.</summary>
    public void Advance(TimeSpan by)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(by.Ticks);
        lock (_gate)
            Volatile.Write(ref _now, _now + by.Ticks);
        while (TakeDue() is { } due)
            due.Call();
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    private Timer? TakeDue()
    {
        lock (_gate)
        {
            Timer? due = _timers.MinBy(static t => t.Due);
            return due?.TryTakeLocked() == true ? due : null;
        }
    }

    private sealed class Timer(TestClock clock, TimerCallback callback, object? state) : ITimer
    {
        /// <summary>In milliseconds.</summary>
        private const long Longest = uint.MaxValue - 1;

        // Guarded by the gate of the clock.
        private TimeSpan _period;
        private bool _isDisposed;

        public long Due { get; private set; }

        public void Call() => callback(state);

        /// <summary>A timer that is due at once calls back at once, as nothing else is sure to move the clock; inside of another callback, too.</summary>
        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            Check(dueTime);
            Check(period);
            bool isDue;
            lock (clock._gate)
            {
                if (_isDisposed)
                    return false;
                clock._timers.Remove(this);
                if (dueTime < TimeSpan.Zero)
                    return true;
                (Due, _period) = (clock._now + dueTime.Ticks, period);
                clock._timers.Add(this);
                isDue = TryTakeLocked();
            }

            if (isDue)
                Call();
            return true;
        }

        /// <returns>True when it was due; then it is set for its next period, if it has one.</returns>
        public bool TryTakeLocked()
        {
            if (Due > clock._now)
                return false;
            clock._timers.Remove(this);
            if (_period > TimeSpan.Zero)
            {
                Due += _period.Ticks;
                clock._timers.Add(this);
            }

            return true;
        }

        public void Dispose()
        {
            lock (clock._gate)
            {
                _isDisposed = true;
                clock._timers.Remove(this);
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }

        /// <summary>As the system's timers do.</summary>
        private static void Check(TimeSpan time)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan((long)time.TotalMilliseconds, -1);
            ArgumentOutOfRangeException.ThrowIfGreaterThan((long)time.TotalMilliseconds, Longest);
        }
    }
}
