using System.Collections.Concurrent;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Contracts;

/// <summary>What a link does, whatever it is made of. An implementation adds a subclass that makes it.</summary>
public abstract class LinkContract
{
    private protected readonly End _writer = new();
    private protected readonly End _reader = new();
    private protected readonly ConcurrentQueue<(object? Item, DiscardReason Reason)> _discarded = [];

    /// <summary>Makes the link under test.</summary>
    private protected abstract Link<T> Create<T>(int capacity, ILinkEnd writer, ILinkEnd reader, Action<object?, DiscardReason> onDiscarded, FullMode fullMode);

    /// <summary>What it can do when it is full.</summary>
    private protected virtual IReadOnlyList<FullMode> FullModes => [FullMode.Wait, FullMode.DropNewest];

    private protected Link<T> Create<T>(int capacity, FullMode fullMode = FullMode.Wait) =>
        Create<T>(capacity, _writer, _reader, (item, reason) => _discarded.Enqueue((item, reason)), fullMode);

    [Theory] // S34
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(128)]
    public void Write_UntilFull_TakesExactlyTheCapacity_AndReadingAloneFreesNothing(int capacity)
    {
        Link<int> link = Create<int>(capacity);

        for (int i = 0; i < capacity; i++)
            Assert.True(link.TryWrite(i));
        Assert.False(link.TryWrite(-1));
        Assert.True(link.TryRead(out int first));
        link.CountReceived();

        Assert.Equal(0, first);
        Assert.Equal((capacity, capacity - 1), (link.SlotsHeld, link.Queued));
        Assert.False(link.TryReserve());
        link.Release(1);
        Assert.True(link.TryWrite(capacity));
        Assert.Equal((capacity, capacity, capacity + 1L), (link.SlotsHeld, link.MaxSlotsHeld, link.Counts.Sent));
    }

    [Fact] // S34
    public void Values_AcrossManyBursts_ComeInOrderAndOnce()
    {
        Link<int> link = Create<int>(5);
        List<int> read = [];
        int next = 0;

        for (int round = 0; round < 200; round++)
        {
            for (int n = 0; n <= round % 5 && link.TryWrite(next); n++)
                next++;
            for (int n = 0; n <= round % 3 && link.TryRead(out int item); n++)
            {
                read.Add(item);
                link.Release(1);
            }
        }

        while (link.TryRead(out int item))
            read.Add(item);
        Assert.Equal(Enumerable.Range(0, next), read);
    }

    [Theory] // S34, S16
    [InlineData(1, Way.Together)]
    [InlineData(7, Way.Together)]
    [InlineData(1024, Way.Together)]
    [InlineData(1, Way.InALoop)]
    [InlineData(7, Way.InALoop)]
    [InlineData(1024, Way.InALoop)]
    public async Task Bursts_OfAnyLength_ComeInOrderAndOnce_AndWakeWhoWaits(int capacity, Way way)
    {
        const int Items = 200_000;
        Link<int> link = Create<int>(capacity);
        Task writing = Task.Run(async () =>
        {
            var random = new Random(capacity);
            int[] burst = new int[100];
            for (int next = 0; next < Items;)
            {
                int count = Math.Min(random.Next(1, burst.Length), Items - next);
                for (int i = 0; i < count; i++)
                    burst[i] = next + i;
                int written = Write(link, burst.AsSpan(0, count), way);
                next += written;
                if (written == count)
                    continue;
                link.AskForSlot();
                if (link.SlotsHeld == capacity)
                    await _writer.Signal.WaitAsync();
            }

            link.Complete(EndMarker.Completed);
        }, TestContext.Current.CancellationToken);

        Assert.Equal(Items, await ReadAllAsync(link, way));

        await writing.Within();
        Assert.Equal(0, link.SlotsHeld);
        Assert.InRange(link.MaxSlotsHeld, 1, capacity);
    }

    [Theory] // S34, S30: whoever ends the link while values go over it, each is there once: read, discarded, or refused
    [InlineData(false, Way.OneByOne)]
    [InlineData(true, Way.OneByOne)]
    [InlineData(false, Way.Together)]
    [InlineData(true, Way.Together)]
    [InlineData(false, Way.InALoop)]
    [InlineData(true, Way.InALoop)]
    public async Task Values_WhileTheLinkIsEnded_AreCountedToTheLast(bool isShut, Way way)
    {
        for (int round = 0; round < 200; round++)
        {
            Link<int> link = Create<int>(64);
            _discarded.Clear();
            int written = 0, together = way == Way.OneByOne ? 1 : 20;
            List<int> read = [];
            using var start = new Barrier(3);
            Task writing = Task.Run(() =>
            {
                Assert.True(start.SignalAndWait(Waiting.Limit, TestContext.Current.CancellationToken));
                while (!link.IsShut && !link.IsCompleted)
                    written += Write(link, [.. Enumerable.Range(written, together)], way);
            }, TestContext.Current.CancellationToken);
            Task reading = Task.Run(() =>
            {
                int[] taken = new int[together];
                Assert.True(start.SignalAndWait(Waiting.Limit, TestContext.Current.CancellationToken));

                // It goes on for a while when the link is shut: whatever it gets then, nobody else must.
                for (int shutFor = 0; shutFor < 100 && link.End is null; shutFor += link.IsShut ? 1 : 0)
                {
                    int count = Read(link, taken, way);
                    link.CountReceived(count);
                    link.Release(count);
                    read.AddRange(taken.AsSpan(0, count));
                }
            }, TestContext.Current.CancellationToken);
            Assert.True(start.SignalAndWait(Waiting.Limit, TestContext.Current.CancellationToken));
            Thread.SpinWait(round * 50);
            if (isShut)
                link.Shut(DiscardReason.Canceled);
            else
                link.Complete(EndMarker.Completed);

            await Task.WhenAll(writing, reading).Within();

            Assert.Equal(Enumerable.Range(0, written), read.Concat(_discarded.Select(static d => (int)d.Item!)));
            Assert.Equal((written, read.Count, written - read.Count), (link.Counts.Accepted, link.Counts.Received, link.Counts.Discarded));
            Assert.True(isShut || link.Counts.Discarded == 0, "What was written is read, when nobody gives it up.");
            Assert.Equal((0, 0), (link.Queued, link.SlotsHeld));
        }
    }

    [Fact] // S34
    public void Reservation_GivenBack_LeavesTheWholeCapacity()
    {
        Link<int> link = Create<int>(2);

        Assert.True(link.TryReserve());
        Assert.True(link.TryWrite(1));
        Assert.False(link.TryReserve());
        link.CancelReserve();

        Assert.Equal((1, 1L), (link.SlotsHeld, link.Counts.Sent));
        Assert.True(link.TryReserve());
        Assert.True(link.WriteReserved(2));
        Assert.False(link.TryWrite(3));
    }

    [Fact] // S34
    public void WriteReserved_AfterTheLinkWasShut_IsRefusedAndGivesItsSlotBack()
    {
        Link<int> link = Create<int>(2);
        Assert.True(link.TryReserve());

        link.Shut(DiscardReason.Canceled);

        Assert.False(link.WriteReserved(1));
        Assert.Equal((0, 0L), (link.SlotsHeld, link.Counts.Sent));
        Assert.Empty(_discarded);
    }

    [Fact] // S47, S30
    public void DropNewest_IsCountedButTakesNoSlot()
    {
        Link<int> link = Create<int>(1, FullMode.DropNewest);
        Assert.True(link.TryWrite(1));

        Assert.True(link.TryOffer(2, out bool hasDropped, out int dropped));

        Assert.True(hasDropped);
        Assert.Equal(2, dropped);
        Assert.Equal((2L, 1L, 1L, 1L, 1), (link.Counts.Sent, link.Counts.Discarded, link.Counts.Dropped, link.Counts.Refused, link.SlotsHeld));
        link.Shut(DiscardReason.Canceled);
        Assert.False(link.DropNewest());
        Assert.Equal((2L, 2L), (link.Counts.Sent, link.Counts.Discarded));
    }

    [Fact] // S12, S47
    public void EndMarker_OnAFullLink_TakesNoSlot_AndShowsAfterTheLastValue()
    {
        Link<int> link = Create<int>(2);
        Assert.True(link.TryWrite(1));
        Assert.True(link.TryWrite(2));

        link.Complete(EndMarker.Completed);
        link.Complete(EndMarker.Canceled);

        Assert.True(link.IsCompleted);
        Assert.Null(link.End);
        Assert.True(link.TryRead(out _));
        Assert.Null(link.End);
        Assert.True(link.TryRead(out int last));
        Assert.Equal(2, last);
        Assert.Same(EndMarker.Completed, link.End);
        Assert.Equal(2, link.SlotsHeld);
        Assert.False(link.TryRead(out _));
    }

    [Fact] // S12
    public void Write_AfterTheEndMarker_IsRefused()
    {
        Link<int> link = Create<int>(2);
        Assert.True(link.TryReserve());
        link.Complete(EndMarker.Completed);

        Assert.False(link.WriteReserved(1));
        Assert.False(link.TryWrite(2));

        Assert.Equal((0, 0L), (link.SlotsHeld, link.Counts.Sent));
        Assert.NotNull(link.End);
    }

    [Fact] // S13, S30
    public void Shut_DiscardsWhatIsQueued_TellsTheWriterOnce_AndRefusesWrites()
    {
        Link<int> link = Create<int>(4);
        for (int i = 1; i <= 4; i++)
            Assert.True(link.TryWrite(i));
        Assert.True(link.TryRead(out _));
        link.CountReceived();

        link.Shut(DiscardReason.NoDemand);
        link.Shut(DiscardReason.Faulted);

        Assert.True(link.IsShut);
        Assert.Equal([(2, DiscardReason.NoDemand), (3, DiscardReason.NoDemand), (4, DiscardReason.NoDemand)], _discarded);
        Assert.Equal(1, link.SlotsHeld);
        Assert.Equal(1, _writer.ReaderClosed);
        Assert.False(link.TryWrite(5));
        Assert.False(link.TryReserve());
        Assert.Equal(link.Counts.Sent, link.Counts.Received + link.Counts.Discarded);
    }

    [Fact] // S6, S30: the counts are whole when Shut returns, whatever the writer is doing.
    public async Task Shut_WhileAnotherThreadWrites_Conserves()
    {
        for (int round = 0; round < 300; round++)
        {
            Link<int> link = Create<int>(round % 3 == 0 ? 1 : 64, FullModes[round % FullModes.Count]);
            long accepted = 0;
            var running = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Task writing = Task.Run(() =>
            {
                for (int i = 0; !link.IsShut; i++)
                {
                    if (link.TryWrite(i)
                        || (link.FullMode == FullMode.DropOldest && link.TryDropOldest(out _) && link.TryWrite(i))
                        || (link.FullMode != FullMode.Wait && link.DropNewest()))
                    {
                        accepted++;
                        running.TrySetResult();
                    }
                }
            }, TestContext.Current.CancellationToken);
            await running.Task.Within();
            for (int n = 0; n < round && link.TryRead(out _); n++)
            {
                link.CountReceived();
                link.Release(1);
            }

            link.Shut(DiscardReason.Canceled);
            LinkCounts counts = link.Counts;
            long sent = counts.Sent, settled = counts.Received + counts.Discarded;
            await writing.Within();

            Assert.Equal(sent, settled);
            Assert.Equal((accepted, 0), (link.Counts.Sent, link.SlotsHeld));
        }

        Assert.NotEmpty(_discarded);
    }

    [Theory] // S16, S34: each side waits only for the other's signal.
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(17)]
    [InlineData(128)]
    public async Task Wakeups_UnderLoad_AreNeverLost(int capacity)
    {
        const int Items = 50_000;
        Link<int> link = Create<int>(capacity);
        Task writing = Task.Run(async () =>
        {
            for (int i = 0; i < Items; i++)
                await WriteAsync(link, i);
            link.Complete(EndMarker.Completed);
        }, TestContext.Current.CancellationToken);

        Assert.Equal(Items, await ReadAllAsync(link));

        await writing.Within();
        Assert.Equal(0, link.SlotsHeld);
        Assert.InRange(link.MaxSlotsHeld, 1, capacity);
    }

    [Theory] // S16: a writer that is slow at times finds its reader asleep at times, and awake at others, and changes its ways with that.
    [InlineData(4)]
    [InlineData(1024)]
    public async Task Wakeups_WhenTheWriterIsSlowAtTimes_AreNeverLost(int capacity)
    {
        const int Items = 100_000;
        Link<int> link = Create<int>(capacity);
        Task writing = Task.Run(async () =>
        {
            var random = new Random(capacity);
            for (int i = 0; i < Items; i++)
            {
                // Long runs without a pause, and long runs with one for each item.
                if (i / 500 % 2 == 0)
                    Thread.SpinWait(random.Next(200));
                await WriteAsync(link, i);

                // The last word before a silence must reach the reader, too.
                if (i % 5_000 == 0)
                    await Waiting.UntilAsync(() => link.Queued == 0, "the reader has read what was written");
            }

            link.Complete(EndMarker.Completed);
        }, TestContext.Current.CancellationToken);

        Assert.Equal(Items, await ReadAllAsync(link));

        await writing.Within();
        Assert.Equal(0, link.SlotsHeld);
    }

    /// <summary>Writes as a stage does that waits for a slot.</summary>
    private async ValueTask WriteAsync(Link<int> link, int item)
    {
        while (!link.TryWrite(item))
        {
            link.AskForSlot();
            if (link.TryWrite(item))
                return;
            await _writer.Signal.WaitAsync();
        }
    }

    /// <summary>Reads as a stage does until the end, and checks that the items count up from 0.</summary>
    /// <returns>How many there were.</returns>
    private async Task<int> ReadAllAsync(Link<int> link, Way way = Way.OneByOne)
    {
        var links = new StageLinks { Inputs = [link] };
        int[] burst = new int[way == Way.OneByOne ? 1 : 150];
        int next = 0;
        while (link.End is null)
        {
            if (Read(link, burst, way) is > 0 and int count)
            {
                Assert.Equal(Enumerable.Range(next, count), burst[..count]);
                next += count;
                link.CountReceived(count);
                link.Release(count);
            }
            else if (link.End is null)
            {
                link.Flush();
                if (links.TrySleep())
                    await _reader.Signal.WaitAsync().Within();
            }
        }

        return next;
    }

    [Fact] // S34: the last slots come back when the reader flushes, before it waits.
    public void Flush_WakesAWriterThatAskedForASlot()
    {
        Link<int> link = Create<int>(64);
        while (link.TryWrite(0)) { }
        link.AskForSlot();
        Assert.True(link.TryRead(out _));

        link.Release(1);
        link.Flush();

        Assert.Equal(1, _writer.Wakes);
        link.Flush();
        Assert.Equal(1, _writer.Wakes);
    }

    /// <summary>How values are written and read.</summary>
    public enum Way
    {
        OneByOne,
        Together,

        /// <summary>As the loops of stages do it; one by one over a link that has nothing of its own for them.</summary>
        InALoop,
    }

    /// <summary>Writes values, as many as there is room for.</summary>
    /// <returns>How many.</returns>
    private protected int Write(Link<int> link, ReadOnlySpan<int> values, Way way)
    {
        if (way == Way.Together)
            return link.WriteMany(values, turn: null);
        int written = 0;
        while (written < values.Length)
        {
            int inLoop = way == Way.InALoop ? WriteInALoop(link, values[written..]) : 0;
            written += inLoop;
            if (inLoop > 0)
                continue;
            if (!link.TryWrite(values[written]))
                break;
            written++;
        }

        return written;
    }

    /// <summary>Writes as the loops of stages do.</summary>
    /// <returns>How many; 0 when the next one is to be written by itself.</returns>
    private protected virtual int WriteInALoop(Link<int> link, ReadOnlySpan<int> values) => 0;

    /// <summary>Reads as they do.</summary>
    /// <returns>How many.</returns>
    private protected virtual int ReadInALoop(Link<int> link, int[] taken) => Read(link, taken, Way.OneByOne);

    /// <summary>Reads values, as many as there are; their slots stay held.</summary>
    /// <returns>How many.</returns>
    private protected int Read(Link<int> link, int[] taken, Way way)
    {
        if (way == Way.Together)
            return link.ReadMany(taken);
        if (way == Way.InALoop)
            return ReadInALoop(link, taken);
        int read = 0;
        while (read < taken.Length && link.TryRead(out taken[read]))
            read++;
        return read;
    }

    private protected static List<int> ReadAll(Link<int> link)
    {
        List<int> items = [];
        while (link.TryRead(out int item))
        {
            link.CountReceived();
            link.Release(1);
            items.Add(item);
        }

        return items;
    }

    /// <summary>One end of the link under test: counts what it is told, and wakes who waits.</summary>
    private protected sealed class End : ILinkEnd
    {
        private int _wakes;
        private int _readerClosed;

        public Wakeup Signal { get; } = new();

        /// <summary>What happens when the reader of a burst link has taken what is queued, before it reads the first of it.</summary>
        public Action? OnTaken { private get; set; }

        public int Wakes => Volatile.Read(ref _wakes);

        public int ReaderClosed => Volatile.Read(ref _readerClosed);

        public void Wake()
        {
            Interlocked.Increment(ref _wakes);
            Signal.Set();
        }

        public void OnBurstTaken() => OnTaken?.Invoke();

        public void OnReaderClosed() => Interlocked.Increment(ref _readerClosed);
    }
}
