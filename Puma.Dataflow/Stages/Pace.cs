namespace Puma.Dataflow.Stages;

/// <summary>
/// How long the items of a pool take, as its instances last found, and what follows from that: for each item the time of its instance, with its
/// hand-over, about a microsecond, and with what the thread of the instance does for the stream meanwhile. Written by the instances, read by them and
/// the stage's stream.
/// </summary>
internal struct Pace
{
    private const int MostAhead = 32;

    /// <summary>What is ready for each instance is worth so much of its time, in timestamps: 250 microseconds.</summary>
    private static readonly long s_ahead = TimeProvider.System.TimestampFrequency / 4000;

    /// <summary>The way of an item to another thread, in timestamps: 1.6 microseconds.</summary>
    private static readonly long s_wayToThread = TimeProvider.System.TimestampFrequency / 625_000;

    /// <summary>In timestamps, 6 microseconds.</summary>
    private static readonly long s_short = TimeProvider.System.TimestampFrequency * 6 / 1_000_000;

    // Of one item, in timestamps of the system's clock; 0 while nobody knows.
    private long _ticks;

    /// <summary>How many items are ready for each instance beyond the one that it handles.</summary>
    public readonly int Ahead => Ticks is > 0 and var ticks ? (int)Math.Min(MostAhead, s_ahead / ticks) : 0;

    /// <summary>Whether an item is shorter than its way to another thread.</summary>
    public readonly bool IsShorterThanItsWay => Ticks is > 0 and var ticks && ticks <= s_wayToThread;

    /// <summary>Whether it pays that the stream lets others go first before it sleeps: the next items are done at once.</summary>
    public readonly bool IsShort => Ticks is > 0 and var ticks && ticks <= s_short;

    /// <summary>
    /// How many items an instance may have done before the stream learns of them; 0 when it learns of each. A thread that was woken for each
    /// would take a processor from those that handle items, and the memory of the stream to another one. The shortest do not count: their
    /// instances rest soon, so that the stream can lend its baton.
    /// </summary>
    public readonly int MostUntold => !IsShorterThanItsWay && Ahead is >= 2 and var ahead ? ahead : 0;

    private readonly long Ticks => Volatile.Read(in _ticks);

    /// <summary>Says how long an item takes, as far as one can tell.</summary>
    /// <param name="ticks">In timestamps of the system's clock.</param>
    public void Note(long ticks) => Volatile.Write(ref _ticks, Math.Max(1, ticks));
}
