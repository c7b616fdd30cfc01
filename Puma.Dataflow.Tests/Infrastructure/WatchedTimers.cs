namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>The system's clock, which says when a timer is about to be made.</summary>
/// <param name="onTimer">Is told when the timer is due, by the thread that makes it.</param>
internal sealed class WatchedTimers(Action<TimeSpan> onTimer) : TimeProvider
{
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        onTimer(dueTime);
        return base.CreateTimer(callback, state, dueTime, period);
    }
}
