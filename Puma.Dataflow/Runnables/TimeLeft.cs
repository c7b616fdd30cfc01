namespace Puma.Dataflow.Runnables;

/// <summary>A time that runs down and stands still in pauses, which may overlap. Not safe for several threads.</summary>
/// <param name="time">The clock.</param>
/// <param name="limit">How much of it there is from now on; infinite for ever.</param>
internal struct TimeLeft(TimeProvider time, TimeSpan limit)
{
    private TimeSpan _left = limit;
    private long _since = time.GetTimestamp();
    private int _pauses;

    /// <summary>How much of it is left; infinite for ever.</summary>
    public readonly TimeSpan Left
    {
        get
        {
            if (_left == Timeout.InfiniteTimeSpan || IsPaused)
                return _left;
            TimeSpan left = _left - time.GetElapsedTime(_since);
            return left > TimeSpan.Zero ? left : TimeSpan.Zero;
        }
    }

    public readonly bool IsUp => Left == TimeSpan.Zero;

    public readonly bool IsPaused => _pauses > 0;

    /// <summary>Stops it. Each call needs one of <see cref="Resume"/>.</summary>
    /// <returns>Whether it ran until now.</returns>
    public bool Pause()
    {
        _left = Left;
        return ++_pauses == 1;
    }

    /// <returns>Whether it runs from now on.</returns>
    public bool Resume()
    {
        // An emit that was not awaited may wait for longer than its item.
        if (_pauses == 0 || --_pauses > 0)
            return false;
        _since = time.GetTimestamp();
        return true;
    }
}
