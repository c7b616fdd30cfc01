namespace Puma.Dataflow.Buffers;

/// <summary>When a stream looks at the time for the items on one side of a link. The stream's own.</summary>
/// <param name="every">After so many items, while they are not very short.</param>
internal struct Looks(int every)
{
    /// <summary>So many looks become one while items are very short.</summary>
    private const int LooksInOne = 4;

    // When the last one was.
    private long _lastAt;

    /// <summary>After how many items on the link the next look is due.</summary>
    public long Due { get; private set; } = every;

    /// <summary>Looks at the time, if the stream takes its turn on this thread.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="position">How many items have passed.</param>
    public void Look(ILinkEnd stream, long position) => Due = position + (Turn.Look(stream, ref _lastAt) ? LooksInOne * every : every);
}
