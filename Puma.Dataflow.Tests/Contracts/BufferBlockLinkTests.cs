using Puma.Dataflow.Buffers;

namespace Puma.Dataflow.Tests.Contracts;

/// <inheritdoc/>
public sealed class BufferBlockLinkTests : LinkContract
{
    private protected override Link<T> Create<T>(int capacity, ILinkEnd writer, ILinkEnd reader, Action<object?, DiscardReason> onDiscarded, FullMode fullMode) =>
        new BufferBlockLink<T>("writer", "reader", capacity, writer, reader) { FullMode = fullMode, OnDiscarded = onDiscarded };

    private protected override IReadOnlyList<FullMode> FullModes => [FullMode.Wait, FullMode.DropNewest, FullMode.DropOldest];

    [Fact] // S47, S30
    public void DropOldest_DropsWhatWaitsLongest_AndKeepsTheOrder()
    {
        Link<int> link = Create<int>(3, FullMode.DropOldest);
        for (int i = 1; i <= 3; i++)
            Assert.True(link.TryWrite(i));
        Assert.True(link.TryRead(out int inWork));
        link.CountReceived();

        Assert.True(link.TryOffer(4, out bool hasDropped, out int dropped));
        Assert.False(link.TryWrite(5));

        Assert.Equal(1, inWork);
        Assert.True(hasDropped);
        Assert.Equal(2, dropped);
        Assert.Equal([3, 4], ReadAll(link));
        Assert.Equal((4L, 3L, 1L, 1L, 0L), (link.Counts.Sent, link.Counts.Received, link.Counts.Discarded, link.Counts.Dropped, link.Counts.Refused));
    }

    [Fact] // S47
    public void DropOldest_WhenEverythingHeldIsInWork_FindsNothing()
    {
        Link<int> link = Create<int>(1, FullMode.DropOldest);
        Assert.True(link.TryWrite(1));
        Assert.True(link.TryRead(out _));

        Assert.False(link.TryDropOldest(out _));

        Assert.Empty(_discarded);
        Assert.Equal(1, link.SlotsHeld);
    }
}
