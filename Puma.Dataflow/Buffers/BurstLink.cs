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
/// released &lt;= read &lt;= published &lt;= claimed, and published + reserved &lt;= released + capacity.
/// </para>
/// <para>
/// <see cref="Complete"/> and <see cref="Link{T}.Shut"/> may come from a third thread while a value is written or read. They are rare, so they
/// bear the cost: they set a bit, pass a barrier for all processors, and look then. Each side claims the position of its value first, and looks
/// for the bit then, without a fence. So of a claim whose look did not see the bit, the third thread sees the claim. It waits until one of the
/// writer is published or withdrawn. For the reader it does not wait: a claim that it saw stays the reader's; one that it did not see is
/// given up, under the gate.
/// </para>
/// </remarks>
internal sealed partial class BurstLink<T> : Link<T>
{
    /// <summary>Rings begin short, so that a pipeline of many stages that are never full takes little memory.</summary>
    private const int FirstLength = 32;

    /// <summary>They grow up to this length; when that is full, another one follows.</summary>
    private const int Longest = 1 << 20;

    /// <summary>While one of these is set no slot is given out. What has one already may still be handed over when the reader only refuses more.</summary>
    private const int NoSlots = Refusing | NoValues;

    /// <summary>While one of these is set nothing is handed over.</summary>
    private const int NoValues = Shutting | Completing;

    private readonly WriterSide _write;
    private readonly ReaderSide _read;

    // How many slots must be free before a waiting writer is woken while the reader goes on working.
    private readonly int _wakeAt;

    // 1 while the reader sleeps, or is about to; set back by the writer that wakes it, or by the reader that was woken by others.
    private int _readerSleeps;

    // Set once, by any thread.
    private EndMarker? _marker;

    // Where what is left begins when the link is shut, and in which ring that goes on. Written under the gate of that, the position once and
    // before the ring: who has seen a ring may read the position without the gate.
    private long _leftFrom;
    private Ring? _leftRing;

    // How many of it were taken, and their slots given back. Written under the gate, read by any thread.
    private long _leftTaken;

    public BurstLink(string from, string to, int capacity, ILinkEnd writer, ILinkEnd reader)
        : base(from, to, capacity, writer, reader)
    {
        var first = new Ring(Math.Min(FirstLength, capacity));
        _write = new WriterSide(first);
        _read = new ReaderSide(first);
        _wakeAt = Math.Max(1, capacity / 2);
    }

    /// <summary>Whether each value is received when it is read: the reader handles all of them at once, and does without <see cref="Link.CountReceived"/> and <see cref="Link{T}.Discard"/>. Set by the reader, before it reads the first one.</summary>
    public bool CountsReadsAsReceived { get; set; }

    protected override long AcceptedSoFar => Volatile.Read(ref _write.Published);

    // Once it is known what is left, a claim that the reader gives up is not shown.
    protected override long ReceivedSoFar =>
        !CountsReadsAsReceived ? base.ReceivedSoFar : Volatile.Read(ref _leftRing) is null ? Volatile.Read(ref _read.Position) : _leftFrom;

    protected override bool IsInUse => Volatile.Read(ref _write.Claimed) != Volatile.Read(ref _write.Published);

    // What is published or reserved is read before what is released or read: the difference never shows more than there was. For
    // the same reason a reservation ends before its value is published.
    public override int SlotsHeld =>
        (int)Math.Max(0, Volatile.Read(ref _write.Published) + Volatile.Read(ref _write.Reserved) - Volatile.Read(ref _read.Released) - Volatile.Read(ref _leftTaken));

    public override int Queued => (int)Math.Max(0, Volatile.Read(ref _write.Published) - Volatile.Read(ref _read.Position) - Volatile.Read(ref _leftTaken));

    public override int MaxSlotsHeld => Volatile.Read(ref _write.MaxHeld);

    public override bool IsCompleted => (Closing & Completing) != 0;

    public override EndMarker? End
    {
        get
        {
            // Nothing is published any more when the marker is set, so it must be read before all is found read.
            EndMarker? marker = Volatile.Read(ref _marker);
            return marker is not null && _read.Position + Volatile.Read(ref _leftTaken) == Volatile.Read(ref _write.Published) ? marker : null;
        }
    }

    // ---- The writer's. ---------------------------------------------------------------------------------------------------------------

    public override bool TryReserve()
    {
        if (IsShut)
            return false;
        WriterSide write = _write;
        long held = write.Published + write.Reserved - write.ReleasedSeen;
        if (held >= write.MaxHeld)
        {
            // Full, or more slots in use than ever, as far as this side has seen.
            write.ReleasedSeen = Volatile.Read(ref _read.Released);
            held = write.Published + write.Reserved - write.ReleasedSeen;
            if (held >= Capacity)
                return false;
            if (held >= write.MaxHeld)
                write.MaxHeld = (int)held + 1;
        }

        // What is written beside it must look for a slot of its own.
        Volatile.Write(ref write.Reserved, write.Reserved + 1);
        write.RoomSeen = 0;
        return true;
    }

    public override bool TryWrite(T item) => TryWrite(item, turn: null);

    public override bool TryWrite(T item, Turn? turn)
    {
        // Up to that position there are a slot and a place, as far as this side has seen.
        WriterSide write = _write;
        long position = write.Published;
        if (position >= write.RoomSeen)
            return TryWriteSlowly(item, turn);
        if (!TryClaim(write, position, 1, NoSlots))
            return false;
        write.Ring[position] = item;
        Publish(write, position + 1, turn);
        return true;
    }

    public override int WriteMany(ReadOnlySpan<T> items, Turn? turn)
    {
        WriterSide write = _write;
        int written = 0;
        while (written < items.Length)
        {
            long position = write.Published;
            long room = Math.Min(items.Length - written, write.RoomSeen - position);
            if (room > 0)
            {
                int count = (int)room;
                if (!TryClaim(write, position, count, NoSlots))
                    break;
                write.Ring.Put(position, items.Slice(written, count));
                Publish(write, position + count, turn);
                written += count;
            }
            else if (TryWriteSlowly(items[written], turn))
            {
                written++;
            }
            else
            {
                break;
            }
        }

        return written;
    }

    [MethodImpl(MethodImplOptions.NoInlining)] // rare, and the frequent path is short without it
    private bool TryWriteSlowly(T item, Turn? turn)
    {
        WriterSide write = _write;
        if (!TryReserve() || !WriteReserved(item, turn))
            return false;
        write.WorkOutRoom();
        return true;
    }

    public override void CancelReserve() => Volatile.Write(ref _write.Reserved, _write.Reserved - 1);

    public override bool WriteReserved(T item) => WriteReserved(item, turn: null);

    private bool WriteReserved(T item, Turn? turn)
    {
        WriterSide write = _write;
        long position = write.Published;
        if (position >= write.RoomEnd)
            MakeRoom(position);

        // Before the value is published, so that nobody counts its slot twice.
        CancelReserve();
        if (!TryClaim(write, position, 1, NoValues))
            return false;
        write.Ring[position] = item;
        Publish(write, position + 1, turn);
        return true;
    }

    /// <summary>Says that values are handed over, which they must not be when this returns false.</summary>
    private bool TryClaim(WriterSide write, long position, int count, int forbidding)
    {
        Volatile.Write(ref write.Claimed, position + count);
        if ((Closing & forbidding) == 0)
            return true;
        Volatile.Write(ref write.Claimed, position);
        return false;
    }

    /// <summary>Shows the reader the values that are in their places, and looks at the time when that is due.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)] // for the writer of one value no more than a few instructions
    private void Publish(WriterSide write, long end, Turn? turn)
    {
        Show(write, end, turn ?? Turn.None);
        if (end >= write.Looks.Due)
            write.Looks.Look(Writer, end);
    }

    /// <summary>Shows the reader the values that are in their places.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)] // in loops, no call is left of it
    private void Show(WriterSide write, long end, Turn turn)
    {
        Volatile.Write(ref write.Published, end);
        if (!turn.KeepsBackFor(Writer))
            Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _readerSleeps) != 0)
            WakeReader();
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

    /// <summary>Looks how far the reader has come: slots and places up to there are free again.</summary>
    private void SeeReleased(WriterSide write)
    {
        write.ReleasedSeen = Volatile.Read(ref _read.Released);
        write.RoomEnd = Math.Max(write.ReleasedSeen, write.RingBegin) + write.Ring.Length;
    }

    /// <summary>Makes a longer ring when the one there is really is full. The reader follows when it has read that to its end.</summary>
    private void MakeRoom(long position)
    {
        WriterSide write = _write;
        SeeReleased(write);
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

    [MethodImpl(MethodImplOptions.AggressiveInlining)] // where the kind of link is known, no call is left of it
    public override bool TryRead(out T item)
    {
        ReaderSide read = _read;
        long position = read.Position;
        if ((position != read.PublishedSeen || TryTakeBurst(position)) && TryClaim(read, position, 1))
        {
            Ring ring = read.Ring;
            while (position == ring.End)
                ring = read.Ring = ring.Next!;
            item = ring.Take(position);
            return true;
        }

        item = default!;
        return false;
    }

    public override int ReadMany(Span<T> items)
    {
        ReaderSide read = _read;
        int taken = 0;
        while (taken < items.Length)
        {
            long position = read.Position;
            if (position == read.PublishedSeen && !TryTakeBurst(position))
                break;
            Span<T> places = Readable(read, position, items.Length - taken);
            if (!TryClaim(read, position, places.Length))
                break;
            Ring.Take(places, items[taken..]);
            taken += places.Length;
        }

        return taken;
    }

    /// <summary>The places of values that are there, from a position on, as far as they lie together.</summary>
    private static Span<T> Readable(ReaderSide read, long position, long most)
    {
        Ring ring = read.Ring;
        while (position == ring.End)
            ring = read.Ring = ring.Next!;
        Span<T> places = ring.PlacesFrom(position);
        return places[..(int)Math.Min(Math.Min(Math.Min(read.PublishedSeen, ring.End) - position, places.Length), most)];
    }

    /// <summary>Says that values are taken, which they must not be when this returns false.</summary>
    private bool TryClaim(ReaderSide read, long position, int count)
    {
        Volatile.Write(ref read.Position, position + count);
        return !IsShutting || TryKeepClaim(read, position);
    }

    /// <summary>Whether who shuts the link has seen the claim. If not, it is given up, and what it was for is left to him.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)] // rare, and the frequent path is short without it
    private bool TryKeepClaim(ReaderSide read, long position)
    {
        lock (ShutGate)
        {
            if (position < _leftFrom)
                return true;
            Volatile.Write(ref read.Position, position);
            return false;
        }
    }

    protected override bool TryTakeLeft(out T item)
    {
        if (_leftRing is null)
        {
            _leftFrom = Volatile.Read(ref _read.Position);
            Volatile.Write(ref _leftRing, Volatile.Read(ref _read.Ring));
        }

        long position = _leftFrom + _leftTaken;
        if (position == Volatile.Read(ref _write.Published))
        {
            item = default!;
            return false;
        }

        // The reader may have claimed the position before, and not gone on to its ring yet.
        while (position >= _leftRing.End)
            _leftRing = _leftRing.Next!;
        item = _leftRing.Take(position);
        return true;
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
        long released = GiveBack(_read, count);
        if (released >= _read.Looks.Due)
            _read.Looks.Look(Reader, released);
    }

    /// <summary>Gives slots back, and wakes a waiting writer when enough are free.</summary>
    /// <returns>How many were given back so far.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)] // in loops, no call is left of it
    private long GiveBack(ReaderSide read, int count)
    {
        long released = read.Released + count;
        Volatile.Write(ref read.Released, released);
        AssertSlots((int)(Volatile.Read(ref _write.Published) + Volatile.Read(ref _write.Reserved) - released));
        if (IsWriterWaiting && released >= read.WakeDue)
            WakeWriterIfDue(released);
        return released;
    }

    /// <summary>Wakes a waiting writer when enough slots are free: one that were woken for every single slot would switch threads for every item. The rest is for <see cref="Flush"/>.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)] // rare, and the frequent path is short without it
    private void WakeWriterIfDue(long released)
    {
        // Only a reservation that is given back makes it less: the writer is woken a little later then, by the flush at the latest.
        _read.WakeDue = Volatile.Read(ref _write.Published) + Volatile.Read(ref _write.Reserved) - Capacity + _wakeAt;
        if (released >= _read.WakeDue)
            WakeWriter();
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
        WaitForUsers();
        Interlocked.CompareExchange(ref _marker, marker, null);
        Reader.Wake();
    }

    protected override void ReleaseQueued() => Volatile.Write(ref _leftTaken, _leftTaken + 1);

    /// <summary>What only the writer writes.</summary>
    private sealed class WriterSide(Ring first) : OnOwnCacheLines
    {
        public Ring Ring = first;

        /// <summary>The first position in it.</summary>
        public long RingBegin;

        /// <summary>The first position for which it has no room, as far as this side has looked.</summary>
        public long RoomEnd = first.Length;

        /// <summary>The first position for which it has no slot or no room, as far as this side has looked; 0 from a reservation to the next write that looks again.</summary>
        public long RoomSeen;

        /// <summary>How many values the reader may read.</summary>
        public long Published;

        /// <summary>The same, and those that are handed over just now.</summary>
        public long Claimed;

        /// <summary>How many slots are taken for values that are handed over later.</summary>
        public int Reserved;

        /// <summary>How many slots were given back, as far as this side has looked.</summary>
        public long ReleasedSeen;

        public int MaxHeld;

        /// <summary>Half as many as on the other side: most writers read as well.</summary>
        public Looks Looks = new(2 * Turn.ItemsPerLook);

        public CacheLines Behind { get; }

        /// <summary>Works <see cref="RoomSeen"/> out again; more slots than ever are in use only when a single value asks for one.</summary>
        public void WorkOutRoom() => RoomSeen = Math.Min(RoomEnd, ReleasedSeen + MaxHeld - Reserved);
    }

    /// <summary>What only the reader writes.</summary>
    private sealed class ReaderSide(Ring first) : OnOwnCacheLines
    {
        public Ring Ring = first;

        /// <summary>How many values were read, or are just now.</summary>
        public long Position;

        /// <summary>How many were there to be read, as far as this side has looked.</summary>
        public long PublishedSeen;

        /// <summary>How many had been published when the reader last looked whether it may sleep.</summary>
        public long NewsSeen;

        /// <summary>How many slots were given back.</summary>
        public long Released;

        /// <summary>Before so many are, a waiting writer need not be woken, as far as this side has looked.</summary>
        public long WakeDue;

        public Looks Looks = new(Turn.ItemsPerLook);

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

        /// <summary>The places from a position on that lie together.</summary>
        public Span<T> PlacesFrom(long position) => _places.AsSpan((int)position & (_places.Length - 1));

        public static void Take(Span<T> places, Span<T> items)
        {
            places.CopyTo(items);
            if (RuntimeHelpers.IsReferenceOrContainsReferences<T>())
                places.Clear();
        }

        public void EndWith(long position, Ring next) => (End, Next) = (position, next);
    }
}
