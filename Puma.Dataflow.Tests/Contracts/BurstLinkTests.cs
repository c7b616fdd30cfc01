using System.Reflection;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Contracts;

/// <inheritdoc/>
public sealed class BurstLinkTests : LinkContract
{
    private protected override Link<T> Create<T>(int capacity, ILinkEnd writer, ILinkEnd reader, Action<object?, DiscardReason> onDiscarded, FullMode fullMode) =>
        new BurstLink<T>("writer", "reader", capacity, writer, reader) { FullMode = fullMode, OnDiscarded = onDiscarded };

    private protected override int WriteInALoop(Link<int> link, ReadOnlySpan<int> values)
    {
        BurstLink<int>.Writes to = ((BurstLink<int>)link).BeginWrites(values.Length, turn: null);
        int written = 0;
        while (written < to.Count && to.TryPut(written, values[written]))
            written++;
        return written;
    }

    private protected override int ReadInALoop(Link<int> link, int[] taken)
    {
        BurstLink<int>.Reads from = ((BurstLink<int>)link).BeginReads(taken.Length);
        int read = 0;
        while (read < from.Count && from.TryTake(read, out taken[read]))
            read++;
        return read;
    }

    [Theory] // S34, S30: positions count from the first value on, and go far beyond what an int holds
    [InlineData(Way.OneByOne)]
    [InlineData(Way.Together)]
    [InlineData(Way.InALoop)]
    public void Values_BeyondTwoToThe31_GoOn(Way way)
    {
        var link = (BurstLink<int>)Create<int>(64);
        MoveTo(link, int.MaxValue - 100L);

        for (int next = 0; next < 1000;)
        {
            // From a reservation to the next write, the writer knows of no slot at all.
            Assert.True(link.TryReserve());
            link.CancelReserve();
            int written = Write(link, [.. Enumerable.Range(next, 20)], way);
            List<int> read = [];
            int[] burst = new int[20];
            while (Read(link, burst, way) is > 0 and int count)
                read.AddRange(burst.AsSpan(0, count));

            Assert.Equal(20, written);
            Assert.Equal(Enumerable.Range(next, 20), read);
            link.Release(20);
            next += written;
        }

        link.Complete(EndMarker.Completed);
        Assert.NotNull(link.End);
        Assert.Equal((0, 0), (link.SlotsHeld, link.Queued));
    }

    /// <summary>Makes an empty link one over which so many values have gone, which would take minutes.</summary>
    private static void MoveTo(BurstLink<int> link, long position)
    {
        const BindingFlags Any = BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Public;
        foreach ((string side, string[] fields) in ((string, string[])[])
            [("_write", ["RingBegin", "Published", "Claimed", "ReleasedSeen"]), ("_read", ["Position", "PublishedSeen", "NewsSeen", "Released"])])
        {
            object of = typeof(BurstLink<int>).GetField(side, Any)!.GetValue(link)!;
            foreach (string field in fields)
                of.GetType().GetField(field, Any)!.SetValue(of, position);
        }
    }

    [Fact] // S34: half of the slots wake a writer that waits, while the reader goes on
    public void SlotsGivenBackInALoop_WakeAWriterWhenHalfAreFree()
    {
        var link = (BurstLink<int>)Create<int>(8);
        while (link.TryWrite(0)) { }
        link.AskForSlot();
        BurstLink<int>.Reads from = link.BeginReads(8);
        for (int i = 0; i < 4; i++)
        {
            Assert.Equal(0, _writer.Wakes);
            Assert.True(from.TryTake(i, out _));
            from.Release();
        }

        Assert.Equal(1, _writer.Wakes);
    }

    [Fact] // S34: a value that is written in a loop wakes a reader that sleeps, before the loop has ended
    public void ValuesWrittenInALoop_WakeAReaderThatSleeps()
    {
        var link = (BurstLink<int>)Create<int>(8);
        while (link.TryWrite(0)) { }
        while (link.TryRead(out _))
            link.Release(1);
        BurstLink<int>.Writes to = link.BeginWrites(8, turn: null);
        link.AnnounceSleep();

        Assert.True(to.TryPut(0, 1));

        Assert.Equal(1, _reader.Wakes);
        Assert.True(to.TryPut(1, 2));
        Assert.Equal(1, _reader.Wakes);
    }

    [Fact] // S30: what is left to who shuts the link is not received
    public void Values_OfAReaderThatCountsItsReads_AreReceivedWhenTheyAreRead()
    {
        var link = (BurstLink<int>)Create<int>(4);
        link.CountsReadsAsReceived = true;
        for (int i = 0; i < 3; i++)
            Assert.True(link.TryWrite(i));

        Assert.True(link.TryRead(out _));
        Assert.Equal((3L, 1L, 0L), (link.Counts.Sent, link.Counts.Received, link.Counts.Discarded));
        link.Shut(DiscardReason.Canceled);
        Assert.False(link.TryRead(out _));

        Assert.Equal((3L, 1L, 2L), (link.Counts.Sent, link.Counts.Received, link.Counts.Discarded));
        Assert.Equal((0, 1), (link.Queued, link.SlotsHeld));
    }

    [Fact] // S30: the counts are whole when Shut returns, whatever the reader is doing
    public async Task Shut_WhileAReaderThatCountsItsReadsGoesOn_ShowsWhatStays()
    {
        for (int round = 0; round < 300; round++)
        {
            var link = (BurstLink<int>)Create<int>(64);
            link.CountsReadsAsReceived = true;
            for (int i = 0; i < 40; i++)
                Assert.True(link.TryWrite(i));
            using var start = new Barrier(2);
            Task reading = Task.Run(() =>
            {
                Assert.True(start.SignalAndWait(Waiting.Limit, TestContext.Current.CancellationToken));
                for (int shutFor = 0; shutFor < 1000; shutFor += link.IsShut ? 1 : 0)
                    link.TryRead(out _);
            }, TestContext.Current.CancellationToken);
            Assert.True(start.SignalAndWait(Waiting.Limit, TestContext.Current.CancellationToken));
            Thread.SpinWait(round);
            link.Shut(DiscardReason.Canceled);
            LinkCounts counts = link.Counts;
            long begin = Environment.TickCount64;
            while (!reading.IsCompleted && Environment.TickCount64 - begin < Waiting.Limit.TotalMilliseconds)
                Assert.Equal(counts, link.Counts);
            await reading.Within();

            Assert.Equal(40, counts.Received + counts.Discarded);
        }
    }

    [Theory] // S6, S30: a stage that is left behind tries to read once more
    [InlineData(Way.OneByOne)]
    [InlineData(Way.Together)]
    [InlineData(Way.InALoop)]
    public void Read_OfALinkThatIsShutMeanwhile_GetsNothing(Way way)
    {
        Link<int> link = Create<int>(4);
        _reader.OnTaken = () => link.Shut(DiscardReason.Canceled);
        for (int i = 0; i < 3; i++)
            Assert.True(link.TryWrite(i));

        Assert.Equal(0, Read(link, new int[2], way));

        Assert.Equal([0, 1, 2], _discarded.Select(static d => d.Item));
        Assert.Equal((3L, 0L, 3L), (link.Counts.Sent, link.Counts.Received, link.Counts.Discarded));
        Assert.Equal((0, 0), (link.Queued, link.SlotsHeld));
    }

    [Fact] // S34: memory follows what is queued
    public void Write_FarBeyondTheLongestRing_MakesNoRingForEachValue()
    {
        const int Many = 1 << 20;
        Link<int> link = Create<int>(int.MaxValue);
        Assert.Equal(Many + 100, Written(link, 0, Many + 100));
        long before = GC.GetAllocatedBytesForCurrentThread();

        Assert.Equal(1000, Written(link, Many + 100, 1000));

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 2 * Many * sizeof(int));
        int read = 0;
        while (link.TryRead(out int item) && item == read)
            read++;
        Assert.Equal(Many + 1100, read);

        static int Written(Link<int> link, int first, int count)
        {
            int written = 0;
            while (written < count && link.TryWrite(first + written))
                written++;
            return written;
        }
    }
}
