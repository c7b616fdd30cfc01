using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow.Buffers;

/// <summary>
/// The reference link: a bounded <see cref="BufferBlock{T}"/> with the slot count beside it, read in bursts.
/// The block does the queueing; since a slot is taken first, it never postpones or declines for lack of room: its bound is one above the
/// slots, because it removes an item that was offered to a target only after the slot was given back.
/// </summary>
internal sealed class BufferBlockLink<T>(string from, string to, int capacity, ILinkEnd writer, ILinkEnd reader)
    : Link<T>(from, to, capacity, writer, reader)
{
    private static readonly IList<T> NoBurst = [];

    private readonly BufferBlock<T> _block = new(new DataflowBlockOptions { BoundedCapacity = capacity == int.MaxValue ? DataflowBlockOptions.Unbounded : capacity + 1 });

    // How many slots must be free before a waiting writer is woken while the reader goes on working.
    private readonly int _wakeAt = capacity <= 16 ? 1 : 16;

    // Slots in use. Writer: +1 by compare-and-swap; reader: -n.
    private int _held;
    private int _maxHeld;
    private long _accepted;

    private EndMarker? _marker;

    // 1 while the writer hands an item over or drops one, so that who shuts the link waits for the counts to be whole.
    private int _isWriting;

    // 1 while the reader takes an item: from a burst, of which who shuts the link takes the rest.
    private int _isReading;

    // Reader only: the items that were taken out of the block together.
    private IList<T> _burst = NoBurst;
    private int _next;

    /// <summary>The block itself, for the exit, whose reader is foreign code.</summary>
    public BufferBlock<T> Block => _block;

    protected override long AcceptedSoFar => Volatile.Read(ref _accepted);

    protected override bool IsInUse => Volatile.Read(ref _isWriting) != 0 || Volatile.Read(ref _isReading) != 0;

    public override int SlotsHeld => Volatile.Read(ref _held);

    public override int MaxSlotsHeld => Volatile.Read(ref _maxHeld);

    public override int Queued => _block.Count + Math.Max(0, _burst.Count - _next);

    public override bool IsCompleted => Volatile.Read(ref _marker) is not null;

    public override EndMarker? End
    {
        get
        {
            // The marker was written after the last value, so it must be read before the queue is found empty.
            EndMarker? marker = Volatile.Read(ref _marker);
            return marker is not null && _next >= _burst.Count && _block.Count == 0 ? marker : null;
        }
    }

    public override bool TryReserve()
    {
        if (IsShut)
            return false;
        while (true)
        {
            int held = Volatile.Read(ref _held);
            if (held >= Capacity)
                return false;
            if (Interlocked.CompareExchange(ref _held, held + 1, held) != held)
                continue;
            if (held >= _maxHeld)
                _maxHeld = held + 1;
            return true;
        }
    }

    public override void CancelReserve() => Release(1);

    public override bool WriteReserved(T item)
    {
        // No fence of our own is needed: who shuts the link has a barrier for both sides.
        Volatile.Write(ref _isWriting, 1);
        bool isPosted = !IsShutting && _block.Post(item);
        if (isPosted)
            Interlocked.Increment(ref _accepted);
        Volatile.Write(ref _isWriting, 0);
        if (isPosted)
            Reader.Wake();
        else
            Release(1);
        return isPosted;
    }

    public override bool TryDropOldest(out T? oldest)
    {
        Volatile.Write(ref _isWriting, 1);
        oldest = default;
        bool isDropped = !IsShut && _block.TryReceive(out oldest);
        if (isDropped)
            CountDroppedOldest();
        Volatile.Write(ref _isWriting, 0);
        if (!isDropped)
            return false;
        Release(1);
        return true;
    }

    public override bool TryRead(out T item)
    {
        // As in the writer: no fence of our own.
        Volatile.Write(ref _isReading, 1);
        item = default!;
        bool isRead = !IsShutting && TryTake(out item);
        Volatile.Write(ref _isReading, 0);
        return isRead;
    }

    protected override bool TryTakeLeft(out T item) => TryTake(out item);

    /// <summary>Takes what is queued in a link that was shut, because it has come back: foreign code has released its reservation. Any thread.</summary>
    public bool TryTakeBack(out T item)
    {
        lock (ShutGate)
            return TryTake(out item);
    }

    private bool TryTake(out T item)
    {
        if (_next < _burst.Count)
        {
            item = _burst[_next];
            _burst[_next++] = default!;
            return true;
        }

        // What is in a burst can no longer be dropped, so a link that drops its oldest item is read one by one.
        if (FullMode == FullMode.DropOldest)
        {
            bool isReceived = _block.TryReceive(out item!);
            if (isReceived)
                Reader.OnBurstTaken();
            return isReceived;
        }

        if (_block.TryReceiveAll(out IList<T>? burst))
        {
            _burst = burst;
            item = burst[0];
            burst[0] = default!;
            _next = 1;
            Reader.OnBurstTaken();
            return true;
        }

        _burst = NoBurst;
        _next = 0;
        item = default!;
        return false;
    }

    public override void Release(int count)
    {
        int held = Interlocked.Add(ref _held, -count);
        AssertSlots(held);

        // A writer that were woken for every single slot would switch threads for every item. The rest is for Flush.
        if (IsWriterWaiting && Capacity - held >= _wakeAt)
            WakeWriter();
    }

    public override void Flush()
    {
        if (IsWriterWaiting && Volatile.Read(ref _held) < Capacity)
            WakeWriter();
    }

    public override void Complete(EndMarker marker)
    {
        // First no more values, then the marker: a reader that sees the marker sees every value too.
        _block.Complete();
        Interlocked.CompareExchange(ref _marker, marker, null);
        Reader.Wake();
    }

    protected override void OnShut() => _block.Complete();

    protected override void ReleaseQueued() => Release(1);
}
