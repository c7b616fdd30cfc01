namespace Puma.Dataflow.Lifecycle;

/// <summary>What a stage does, and how long it has done what. Any thread.</summary>
internal sealed class ActivityClock(TimeProvider time)
{
    private readonly Lock _gate = new();

    // Written inside of _gate. In timestamps: since when the activity, and how long each was before.
    private readonly long[] _before = new long[(int)StageActivity.Ended + 1];
    private volatile StageActivity _now = StageActivity.Starting;
    private long _since = time.GetTimestamp();

    public StageActivity Now => _now;

    public StageTimes Times
    {
        get
        {
            lock (_gate)
            {
                return new StageTimes(
                    In(StageActivity.Starting),
                    In(StageActivity.Working),
                    In(StageActivity.WaitingForInput),
                    In(StageActivity.WaitingForOutput),
                    In(StageActivity.WaitingForRetry),
                    In(StageActivity.WaitingForForeignCode),
                    In(StageActivity.Ending));
            }
        }
    }

    /// <param name="activity">What the stage does from now on.</param>
    /// <param name="now">The timestamp, which may be a little old.</param>
    public void Enter(StageActivity activity, long now)
    {
        lock (_gate)
        {
            if (_now == activity)
                return;
            now = Math.Max(now, _since);
            _before[(int)_now] += now - _since;
            (_now, _since) = (activity, now);
        }
    }

    private TimeSpan In(StageActivity activity) =>
        time.GetElapsedTime(0, _before[(int)activity] + (_now == activity ? time.GetTimestamp() - _since : 0));
}
