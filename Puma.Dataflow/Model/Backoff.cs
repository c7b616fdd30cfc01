namespace Puma.Dataflow;

/// <summary>How long to wait before an item is tried again. Immutable and safe for any thread.</summary>
public sealed class Backoff
{
    private readonly Func<int, TimeSpan> _delay;

    private Backoff(Func<int, TimeSpan> delay) => _delay = delay;

    /// <summary>No wait.</summary>
    public static Backoff None { get; } = new(static _ => TimeSpan.Zero);

    /// <summary>The same wait before each attempt.</summary>
    /// <param name="delay">The wait; not negative.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="delay"/> is negative or too long for a timer.</exception>
    public static Backoff Constant(TimeSpan delay)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(delay, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(delay, TimeLimits.Longest);
        return new Backoff(_ => delay);
    }

    /// <summary>A wait that doubles with each attempt.</summary>
    /// <param name="first">The wait before the second attempt; positive.</param>
    /// <param name="max">The longest wait; default one minute, at least <paramref name="first"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="first"/> is not positive, or <paramref name="max"/> is below it or too long for a timer.</exception>
    public static Backoff Exponential(TimeSpan first, TimeSpan? max = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(first, TimeSpan.Zero);
        TimeSpan longest = max ?? (first > TimeSpan.FromMinutes(1) ? first : TimeSpan.FromMinutes(1));
        ArgumentOutOfRangeException.ThrowIfLessThan(longest, first, nameof(max));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(longest, TimeLimits.Longest, nameof(max));
        return new Backoff(failures =>
        {
            double ticks = first.Ticks * Math.Pow(2, failures - 1);
            return ticks >= longest.Ticks ? longest : TimeSpan.FromTicks((long)ticks);
        });
    }

    /// <summary>The wait after a number of failures.</summary>
    /// <param name="failures">How often the item has failed so far; at least 1.</param>
    internal TimeSpan DelayAfter(int failures) => _delay(failures);
}
