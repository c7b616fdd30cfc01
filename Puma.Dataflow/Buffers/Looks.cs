using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Buffers;

/// <summary>When a stream looks at the time for the items on one side of a link. The stream's own.</summary>
/// <param name="every">After so many items, while they are not very short.</param>
internal struct Looks(int every)
{
    /// <summary>So many looks become one while items are very short.</summary>
    private const int LooksInOne = 4;

    // When the last one was, and how many in succession have found very short items: one may have seen only the first item of a turn.
    private long _lastAt;
    private int _veryShort;

    /// <summary>After how many items on the link the next look is due.</summary>
    public long Due { get; private set; } = every;

    /// <summary>Looks at the time, if the stream takes its turn on this thread.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="position">How many items have passed.</param>
    [MethodImpl(MethodImplOptions.NoInlining)] // rare, and the frequent path is short without it
    public void Look(ILinkEnd stream, long position)
    {
        _veryShort = Turn.Look(stream, ref _lastAt) ? _veryShort + 1 : 0;
        Due = position + (_veryShort > 1 ? LooksInOne * every : every);
    }
}
