using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Writes into a branch as its full mode says.</summary>
internal static class Offering
{
    /// <summary>Writes a value if the link has a slot or its full mode makes do without one. The stage's own stream only.</summary>
    /// <returns>False when the writer has to wait, or the reader wants no more.</returns>
    /// <exception cref="PipelineFullException">The link is full and its full mode is <see cref="FullMode.Fail"/>.</exception>
    public static bool TryOffer<T>(this StageNode stage, Link<T> link, T value)
    {
        bool isOffered = link.TryOffer(value, out bool hasDropped, out T? dropped);
        if (hasDropped)
            link.OnDiscarded(dropped, DiscardReason.Dropped);
        if (isOffered || link.IsShut || link.FullMode != FullMode.Fail)
            return isOffered;

        // Of an optional branch only the branch fails.
        var full = new PipelineFullException(link.To, link.Capacity);
        if (!link.IsOptional)
            throw full;
        stage.Graph.FailReader(link, full);
        return false;
    }
}
