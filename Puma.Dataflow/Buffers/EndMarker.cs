namespace Puma.Dataflow.Buffers;

/// <summary>How the stream of a link ends. Ordered from best to worst.</summary>
internal enum EndKind
{
    Completed,
    Canceled,
    Faulted,
}

/// <summary>The last thing that a link carries.</summary>
/// <param name="Kind">How the stream ended.</param>
/// <param name="Cause">The failure, when the stream is faulted.</param>
internal sealed record EndMarker(EndKind Kind, StageFaultedException? Cause = null)
{
    public static EndMarker Completed { get; } = new(EndKind.Completed);

    public static EndMarker Canceled { get; } = new(EndKind.Canceled);

    public static EndMarker Worst(EndMarker first, EndMarker second) => second.Kind > first.Kind ? second : first;
}
