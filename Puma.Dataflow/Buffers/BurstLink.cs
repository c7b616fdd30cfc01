using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Buffers;

/// <summary>
/// The fast link: a ring between one writer and one reader, without locks. A value costs the writer one publication and one look whether
/// the reader sleeps; the reader sees at once all that was published before, and takes it as a burst.
/// </summary>
/// <remarks>
/// A writer that publishes and then finds the reader awake must be sure that the reader, before it sleeps, sees what was published. A full
/// fence between the two does that, but costs more than all the rest. So a short turn of the writer leaves it out, and looks once more when
/// it ends, behind a fence (<see cref="Turn"/>).
/// <para>
/// What the writer writes is in <see cref="WriterSide"/>, what the reader writes in <see cref="ReaderSide"/>, each on cache lines of its own;
/// each side keeps what it last saw of the other, and looks again only when that is used up. All positions count from the first value on:
/// released &lt;= read &lt;= published &lt;= taken &lt;= released + capacity.
/// </para>
/// <para>
/// <see cref="Complete"/> and <see cref="Link{T}.Shut"/> may come from a third thread while a value is written. They are rare, so they bear the cost
/// (a barrier for all processors, and a wait of a few instructions), and the writer has none.
/// </para>
/// </remarks>
internal sealed class BurstLink<T> : Link<T>
{
    /// <summary>Rings begin short, so that a pipeline of many stages that are never full takes little memory.</summary>
    private const int FirstLength = 32;

    /// <summary>They grow up to this length; when that is full, another one follows.</summary>
    private const int Longest = 1 << 20;

    private readonly WriterSide _write;
    private readonly ReaderSide _read;

    // How many slots must be free before a waiting writer is woken while the reader goes on working.
    private readonly int _wakeAt;

    // 1 while the reader sleeps, or is about to; set back by the writer that wakes it, or by the reader that was woken by others.
    private int _readerSleeps;

    // Set once, by any thread.
    private EndMarker? _marker;

    // Slots of what was queued when the link was shut. Written under the gate of that: the reader's own count is the reader's alone.
    private long _releasedAtShut;

    public BurstLink(string from, string to, int capacity, ILinkEnd writer, ILinkEnd reader)
        : base(from, to, capacity, writer, reader)
    {
        var first = new Ring(Math.Min(FirstLength, capacity));
        _write = new WriterSide(first);
        _read = new ReaderSide(first);
        _wakeAt = Math.Max(1, capacity / 2);
    }

    protected override long AcceptedSoFar => Volatile.Read(ref _write.Published);

    protected override bool IsWriting => Volatile.Read(ref _write.IsWriting) != 0;

    // What is taken or published is read before what is released or read: the difference never shows more than there was.
    public override int SlotsHeld => (int)Math.Max(0, Volatile.Read(ref _write.Taken) - Volatile.Read(ref _read.Released) - Volatile.Read(ref _releasedAtShut));

    public override int Queued => (int)Math.Max(0, Volatile.Read(ref _write.Published) - Volatile.Read(ref _read.Position));

    public override int MaxSlotsHeld => Volatile.Read(ref _write.MaxHeld);

    public override bool IsCompleted => (Closing & Completing) != 0;

    public override EndMarker? End
    {
        get
        {
            // Nothing is published any more when the marker is set, so it must be read before all is found read.
            EndMarker? marker = Volatile.Read(ref _marker);
            return marker is not null && _read.Position == Volatile.Read(ref _write.Published) ? marker : null;
        }
    }

    // ---- The writer's. ---------------------------------------------------------------------------------------------------------------

    public override bool TryReserve()
    {
        if (IsShut)
            return false;
        WriterSide write = _write;
        long held = write.Taken - write.ReleasedSeen;
        if (held >= write.MaxHeld)
        {
            // Full, or more slots in use than ever, as far as this side has seen.
            write.ReleasedSeen = Volatile.Read(ref _read.Released);
            held = write.Taken - write.ReleasedSeen;
            if (held >= Capacity)
                return false;
            if (held >= write.MaxHeld)
                write.MaxHeld = (int)held + 1;
        }

        Volatile.Write(ref write.Taken, write.Taken + 1);
        return true;
    }

    public override bool TryWrite(T item) => TryWrite(item, turn: null);

    public override bool TryWrite(T item, Turn? turn)
    {
        // Up to that position there are a slot and a place, as far as this side has seen.
        WriterSide write = _write;
        long position = write.Published;
        if (position >= write.RoomSeen || write.Taken != position || Closing != 0)
            return TryWriteSlowly(item, turn);
        Volatile.Write(ref write.Taken, position + 1);
        return Publish(write, position, item, turn);
    }

    public override int WriteMany(ReadOnlySpan<T> items, Turn? turn)
    {
        WriterSide write = _write;
        int written = 0;
        while (written < items.Length)
        {
            long position = write.Published;
            int count = (int)Math.Min(items.Length - written, write.RoomSeen - position);
            if (count <= 0 || write.Taken != position || Closing != 0)
            {
                if (!TryWriteSlowly(items[written], turn))
                    break;
                written++;
                continue;
            }

            Volatile.Write(ref write.Taken, position + count);
            if (!Publish(write, position, items.Slice(written, count), turn))
                break;
            written += count;
        }

        return written;
    }

    [MethodImpl(MethodImplOptions.NoInlining)] // rare, and the frequent path is short without it
    private bool TryWriteSlowly(T item, Turn? turn)
    {
        if (!TryReserve() || !WriteReserved(item, turn))
            return false;
        _write.RoomSeen = Math.Min(_write.RoomEnd, _write.ReleasedSeen + _write.MaxHeld);
        return true;
    }

    public override void CancelReserve() => Volatile.Write(ref _write.Taken, _write.Taken - 1);

    public override bool WriteReserved(T item) => WriteReserved(item, turn: null);

    private bool WriteReserved(T item, Turn? turn)
    {
        WriterSide write = _write;
        long position = write.Published;
        if (position >= write.RoomEnd)
            MakeRoom(position);
        return Publish(write, position, item, turn);
    }

    private bool Publish(WriterSide write, long position, T item, Turn? turn)
    {
        Volatile.Write(ref write.IsWriting, 1);
        if ((Closing & (Shutting | Completing)) != 0)
        {
            Volatile.Write(ref write.IsWriting, 0);
            CancelReserve();
            return false;
        }

        write.Ring[position] = item;
        Volatile.Write(ref write.Published, position + 1);
        Volatile.Write(ref write.IsWriting, 0);
        if (turn?.KeepsBackFor(Writer) != true)
            Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _readerSleeps) != 0)
            WakeReader();
        if ((position & (2 * Turn.ItemsPerLook - 1)) == 0)
            Turn.Look(Writer, ref _write.LookedAt);
        return true;
    }

    /// <summary>The same for several items, whose slots are taken. Not one method for both: the other one costs less on its own.</summary>
    private bool Publish(WriterSide write, long position, ReadOnlySpan<T> items, Turn? turn)
    {
        Volatile.Write(ref write.IsWriting, 1);
        if ((Closing & (Shutting | Completing)) != 0)
        {
            Volatile.Write(ref write.IsWriting, 0);
            Volatile.Write(ref write.Taken, write.Taken - items.Length);
            return false;
        }

        write.Ring.Put(position, items);
        Volatile.Write(ref write.Published, position + items.Length);
        Volatile.Write(ref write.IsWriting, 0);
        if (turn?.KeepsBackFor(Writer) != true)
            Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _readerSleeps) != 0)
            WakeReader();
        if (Turn.IsLookDue(position, position + items.Length, 2 * Turn.ItemsPerLook))
            Turn.Look(Writer, ref _write.LookedAt);
        return true;
    }

    [MethodImpl(MethodImplOptions.NoInlining)] // rare, and the frequent path is short without it
    private void WakeReader()
    {
        if (Interlocked.Exchange(ref _readerSleeps, 0) != 0)
            Reader.Wake();
    }

    public override void Signal()
    {
        if (Volatile.Read(ref _readerSleeps) != 0 && Volatile.Read(ref _write.Published) != Volatile.Read(ref _read.NewsSeen))
            WakeReader();
    }

    /// <summary>Makes a longer ring when the one there is really is full. The reader follows when it has read that to its end.</summary>
    private void MakeRoom(long position)
    {
        WriterSide write = _write;
        write.ReleasedSeen = Volatile.Read(ref _read.Released);
        write.RoomEnd = Math.Max(write.ReleasedSeen, write.RingBegin) + write.Ring.Length;
        if (position < write.RoomEnd)
            return;
        Debug.Assert(write.Ring.Length < Capacity, "A ring as long as the link has slots has room for all of them.");
        var next = new Ring(Math.Min(Math.Min(2 * write.Ring.Length, Capacity), Longest));
        write.Ring.EndWith(position, next);
        (write.Ring, write.RingBegin, write.RoomEnd) = (next, position, position + next.Length);
    }

    public override bool TryDropOldest(out T? oldest) =>
        throw new NotSupportedException("Only the reader takes values out of this link; a link that drops its oldest value is a BufferBlockLink.");

    // ---- The reader's. ---------------------------------------------------------------------------------------------------------------

    protected override bool TryTake(out T item)
    {
        ReaderSide read = _read;
        long position = read.Position;
        if (position == read.PublishedSeen && !TryTakeBurst(position))
        {
            item = default!;
            return false;
        }

        Ring ring = read.Ring;
        while (position == ring.End)
            ring = read.Ring = ring.Next!;
        item = ring.Take(position);
        Volatile.Write(ref read.Position, position + 1);
        return true;
    }

    protected override int TakeMany(Span<T> items)
    {
        ReaderSide read = _read;
        int taken = 0;
        while (taken < items.Length)
        {
            long position = read.Position;
            if (position == read.PublishedSeen && !TryTakeBurst(position))
                break;
            Ring ring = read.Ring;
            while (position == ring.End)
                ring = read.Ring = ring.Next!;
            int count = ring.Take(position, Math.Min(read.PublishedSeen, ring.End), items[taken..]);
            Volatile.Write(ref read.Position, position + count);
            taken += count;
        }

        return taken;
    }

    [MethodImpl(MethodImplOptions.NoInlining)] // rare, and the frequent path is short without it
    private bool TryTakeBurst(long position)
    {
        // The burst before has ended: its slots are free.
        Flush();
        _read.PublishedSeen = _read.NewsSeen = Volatile.Read(ref _write.Published);
        if (position == _read.PublishedSeen)
            return false;
        if (_readerSleeps != 0)
            Volatile.Write(ref _readerSleeps, 0);
        Reader.OnBurstTaken();
        return true;
    }

    public override void AnnounceSleep() => Interlocked.Exchange(ref _readerSleeps, 1);

    public override bool HasNews()
    {
        long published = Volatile.Read(ref _write.Published);
        if (published == _read.NewsSeen)
            return false;
        Volatile.Write(ref _read.NewsSeen, published);
        return true;
    }

    public override void Release(int count)
    {
        long before = _read.Released, released = before + count;
        Volatile.Write(ref _read.Released, released);
        AssertSlots((int)(Volatile.Read(ref _write.Taken) - released));

        // A writer that were woken for every single slot would switch threads for every item. The rest is for Flush.
        if (IsWriterWaiting && Capacity - SlotsHeld >= _wakeAt)
            WakeWriter();
        if (Turn.IsLookDue(before, released, Turn.ItemsPerLook))
            Turn.Look(Reader, ref _read.LookedAt);
    }

    public override void Flush()
    {
        Interlocked.MemoryBarrier();
        if (IsWriterWaiting && SlotsHeld < Capacity)
            WakeWriter();
    }

    // ---- Anybody's. ------------------------------------------------------------------------------------------------------------------

    public override void Complete(EndMarker marker)
    {
        // First no more values, then the marker: a reader that sees the marker sees every value too.
        Close(Completing);
        WaitForWriter();
        Interlocked.CompareExchange(ref _marker, marker, null);
        Reader.Wake();
    }

    protected override void ReleaseQueued() => Volatile.Write(ref _releasedAtShut, _releasedAtShut + 1);

    /// <summary>What only the writer writes.</summary>
    private sealed class WriterSide(Ring first) : OnOwnCacheLines
    {
        public Ring Ring = first;

        /// <summary>The first position in it.</summary>
        public long RingBegin;

        /// <summary>The first position for which it has no room, as far as this side has looked.</summary>
        public long RoomEnd = first.Length;

        /// <summary>The first position for which it has no slot or no room, as far as this side has looked.</summary>
        public long RoomSeen;

        /// <summary>How many values the reader may read.</summary>
        public long Published;

        /// <summary>How many slots were ever taken.</summary>
        public long Taken;

        /// <summary>How many of them were given back, as far as this side has looked.</summary>
        public long ReleasedSeen;

        public int MaxHeld;

        /// <summary>1 while a value is handed over or dropped.</summary>
        public int IsWriting;

        /// <summary>When the turn of the writer last looked at the time for this link.</summary>
        public long LookedAt;

        public CacheLines Behind { get; }
    }

    /// <summary>What only the reader writes.</summary>
    private sealed class ReaderSide(Ring first) : OnOwnCacheLines
    {
        public Ring Ring = first;

        /// <summary>How many values were read.</summary>
        public long Position;

        /// <summary>How many were there to be read, as far as this side has looked.</summary>
        public long PublishedSeen;

        /// <summary>How many had been published when the reader last looked whether it may sleep.</summary>
        public long NewsSeen;

        /// <summary>How many slots were given back.</summary>
        public long Released;

        /// <summary>When the turn of the reader last looked at the time for this link.</summary>
        public long LookedAt;

        public CacheLines Behind { get; }
    }

    /// <summary>Places for values, by position. The writer fills them, the reader empties them.</summary>
    private sealed class Ring(int leastLength)
    {
        private readonly T[] _places = new T[(int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)leastLength)];

        public int Length => _places.Length;

        /// <summary>The position at which the next ring goes on. Written before that position is published.</summary>
        public long End { get; private set; } = long.MaxValue;

        public Ring? Next { get; private set; }

        public T this[long position]
        {
            set => _places[(int)position & (_places.Length - 1)] = value;
        }

        public T Take(long position)
        {
            ref T place = ref _places[(int)position & (_places.Length - 1)];
            T item = place;
            if (RuntimeHelpers.IsReferenceOrContainsReferences<T>())
                place = default!;
            return item;
        }

        public void Put(long position, ReadOnlySpan<T> items)
        {
            Span<T> places = PlacesFrom(position);
            int first = Math.Min(items.Length, places.Length);
            items[..first].CopyTo(places);
            items[first..].CopyTo(_places);
        }

        /// <returns>How many it took: those that lie together.</returns>
        public int Take(long position, long end, Span<T> items)
        {
            Span<T> places = PlacesFrom(position);
            places = places[..(int)Math.Min(Math.Min(end - position, places.Length), items.Length)];
            places.CopyTo(items);
            if (RuntimeHelpers.IsReferenceOrContainsReferences<T>())
                places.Clear();
            return places.Length;
        }

        private Span<T> PlacesFrom(long position) => _places.AsSpan((int)position & (_places.Length - 1));

        public void EndWith(long position, Ring next) => (End, Next) = (position, next);
    }
}
