namespace Puma.Dataflow;

/// <summary>What a timer can do.</summary>
internal static class TimeLimits
{
    /// <summary>The longest time that a timer of the framework can be set to, almost 50 days.</summary>
    public static TimeSpan Longest { get; } = TimeSpan.FromMilliseconds(uint.MaxValue - 1);
}
