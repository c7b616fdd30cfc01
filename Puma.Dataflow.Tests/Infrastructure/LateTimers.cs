using System.Collections.Concurrent;

namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>A clock whose timers can call back when nobody expects them, as a system timer can whose callback was queued before it was stopped.</summary>
/// <param name="inner">The clock itself.</param>
/// <param name="areStuck">Whether timers call back only by <see cref="CallAll"/>, as on a machine that is too busy for them.</param>
internal sealed class LateTimers(TimeProvider inner, bool areStuck = false) : TimeProvider
{
    private readonly ConcurrentQueue<Action> _callbacks = [];

    /// <summary>The periods of the timers that have one.</summary>
    public ConcurrentQueue<TimeSpan> Periods { get; } = [];

    public override long TimestampFrequency => inner.TimestampFrequency;

    public override long GetTimestamp() => inner.GetTimestamp();

    public override DateTimeOffset GetUtcNow() => inner.GetUtcNow();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        _callbacks.Enqueue(() => callback(state));
        if (period != Timeout.InfiniteTimeSpan)
            Periods.Enqueue(period);
        return inner.CreateTimer(areStuck ? static _ => { } : callback, state, dueTime, period);
    }

    /// <summary>Calls back for every timer that was made so far.</summary>
    public void CallAll()
    {
        foreach (Action callback in _callbacks)
            callback();
    }
}
