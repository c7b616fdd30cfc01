namespace Puma.Dataflow.Isolation;

/// <summary>What a child that is gone had logged and kept where it outlives it.</summary>
/// <param name="Records">The records that were asked for, encoded, the oldest first.</param>
/// <param name="Dropped">How many records it had dropped since the beginning, by level.</param>
internal sealed record LastLog(IReadOnlyList<(long Number, byte[] Record)> Records, IReadOnlyList<long> Dropped)
{
    public static LastLog None { get; } = new([], new long[(int)Microsoft.Extensions.Logging.LogLevel.None]);
}
