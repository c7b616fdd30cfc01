namespace Puma.Dataflow.Isolation;

/// <summary>What a child that is gone had logged and kept where it outlives it.</summary>
/// <param name="Records">The records that were asked for, encoded, the oldest first.</param>
/// <param name="Dropped">How many records it had dropped since the beginning, by level.</param>
/// <param name="Accepted">How many it had accepted and not dropped, by level: what has arrived, what is found here, and what is lost.</param>
internal sealed record LastLog(IReadOnlyList<(long Number, byte[] Record)> Records, IReadOnlyList<long> Dropped, IReadOnlyList<long> Accepted)
{
    private const int Levels = (int)Microsoft.Extensions.Logging.LogLevel.None;

    public static LastLog None { get; } = new([], new long[Levels], new long[Levels]);

    /// <summary>Reads what comes after a record.</summary>
    public static LastLog After(long number, LogRing ring) =>
        new(ring.ReadAfter(number), [.. Enumerable.Range(0, Levels).Select(ring.ReadDropped)], [.. Enumerable.Range(0, Levels).Select(ring.ReadAccepted)]);
}
