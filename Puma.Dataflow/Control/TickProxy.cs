namespace Puma.Dataflow.Control;

/// <summary>The ticks of an instance, where it lives. Its stream only.</summary>
internal sealed class InstanceTicks(TickSchedule ticks) : ITickControl
{
    public ValueTask SetIntervalAsync(TimeSpan? interval, CancellationToken cancellationToken)
    {
        ticks.Interval = interval;
        return default;
    }

    public ValueTask PauseAsync(CancellationToken cancellationToken)
    {
        ticks.Pause();
        return default;
    }

    public ValueTask ResumeAsync(CancellationToken cancellationToken)
    {
        ticks.Resume();
        return default;
    }
}

/// <summary>The ticks of a runnable, wherever it lives; written by hand, because no generator runs over the library itself.</summary>
internal sealed class TickProxy(ControlTarget target) : ITickControl
{
    private static readonly ControlMember<ITickControl, TimeSpan?, NoValue> s_setInterval = new(
        "ITickControl.SetIntervalAsync", static () => s_setInterval!, static async (t, a, _, token) =>
        {
            await t.SetIntervalAsync(a, token).ConfigureAwait(false);
            return default;
        });

    private static readonly ControlMember<ITickControl, NoValue, NoValue> s_pause = new(
        "ITickControl.PauseAsync", static () => s_pause!, static async (t, _, _, token) =>
        {
            await t.PauseAsync(token).ConfigureAwait(false);
            return default;
        });

    private static readonly ControlMember<ITickControl, NoValue, NoValue> s_resume = new(
        "ITickControl.ResumeAsync", static () => s_resume!, static async (t, _, _, token) =>
        {
            await t.ResumeAsync(token).ConfigureAwait(false);
            return default;
        });

    public ValueTask SetIntervalAsync(TimeSpan? interval, CancellationToken cancellationToken)
    {
        TickSchedule.CheckInterval(interval, nameof(interval));
        return new(target.CallAsync(s_setInterval, interval, cancellationToken).AsTask());
    }

    public ValueTask PauseAsync(CancellationToken cancellationToken) => new(target.CallAsync(s_pause, default, cancellationToken).AsTask());

    public ValueTask ResumeAsync(CancellationToken cancellationToken) => new(target.CallAsync(s_resume, default, cancellationToken).AsTask());
}
