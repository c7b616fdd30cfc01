using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Buffers;

/// <summary>
/// The bounded hand-over from one stage (the writer) to the next (the reader): values, then exactly one end marker.
/// A slot is taken when an item is written and given back by <see cref="Release"/> when the reader has settled it,
/// so the slots held count queued items and items in work alike.
/// </summary>
/// <remarks>
/// The writer's members belong to the writing stage, the reader's to the reading one; each stage is one execution stream.
/// <see cref="Complete"/> and <see cref="Shut"/> may come from any thread. Counters may be read by any thread.
/// </remarks>
internal abstract class Link(string from, string to, int capacity, ILinkEnd writer, ILinkEnd reader)
{
    /// <summary>The end that reads.</summary>
    protected ILinkEnd Reader { get; } = reader;

    /// <summary>The end that writes.</summary>
    public ILinkEnd Writer { get; } = writer;

    public string From => from;

    public string To => to;

    public int Capacity => capacity;

    /// <summary>What the writer does when there is no slot.</summary>
    public FullMode FullMode { get; init; }

    /// <summary>Whether the link leads into a branch that may fault alone.</summary>
    public bool IsOptional { get; init; }

    /// <summary>Called for each item that this link discards.</summary>
    public required Action<object?, DiscardReason> OnDiscarded { get; init; }

    /// <summary>The numbers now.</summary>
    public LinkCounts Counts
    {
        get
        {
            // A part before its whole, so that none shows more than it. What was received or discarded was accepted before, though its
            // writer may not have counted it yet.
            long refused = Volatile.Read(ref _refused);
            long droppedOldest = Volatile.Read(ref _droppedOldest);
            long discarded = Volatile.Read(ref _discarded);
            long received = ReceivedSoFar;
            long accepted = Math.Max(AcceptedSoFar, received + discarded);

            // Whatever is not discarded is in hands that do not return it.
            if (Volatile.Read(ref _isLeftBehind))
                received = accepted - discarded;
            return new LinkCounts(accepted + refused, received, discarded + refused, droppedOldest + refused, refused);
        }
    }

    /// <summary>Items that the writer has counted and that had a slot. Exact once <see cref="Shut"/> has returned.</summary>
    protected abstract long AcceptedSoFar { get; }

    /// <summary>Items whose handling has started: those that the reader has counted, and those of its instances.</summary>
    protected virtual long ReceivedSoFar => Volatile.Read(ref _reading.Received) + (StartedByInstances?.Invoke() ?? 0);

    public abstract int SlotsHeld { get; }

    /// <summary>The most slots that were held at once.</summary>
    public abstract int MaxSlotsHeld { get; }

    /// <summary>Items that wait to be read.</summary>
    public abstract int Queued { get; }

    /// <summary>Whether the reader wants no more: every write is refused from now on.</summary>
    public bool IsShut => (Closing & Refusing) != 0;

    /// <summary>The end marker, once every value before it has been read.</summary>
    public abstract EndMarker? End { get; }

    /// <summary>Whether the end marker was written.</summary>
    public abstract bool IsCompleted { get; }

    /// <summary>Writes the end marker. Takes no slot, never waits; only the first one counts.</summary>
    public abstract void Complete(EndMarker marker);

    /// <summary>The reader will read no more: refuses every later write and tells the writer. What is queued is for <see cref="Shut"/>. Any thread.</summary>
    public void Refuse()
    {
        if ((Interlocked.Or(ref _closing, Refusing) & Refusing) != 0)
            return;
        Writer.OnReaderClosed();
        Writer.Wake();
    }

    /// <summary>The reader reads no more, not even if it tries to: refuses every later write, discards what is queued and tells the writer. Any thread.</summary>
    public abstract void Shut(DiscardReason reason);

    /// <summary>Counts as received what the reader has taken and not counted yet: it is left behind. After <see cref="Shut"/>; any thread.</summary>
    public void LeaveBehind() => Volatile.Write(ref _isLeftBehind, true);

    /// <summary>Gives slots back. Reader only.</summary>
    public abstract void Release(int count);

    /// <summary>Asks for a wake-up of the writer when slots are given back. The writer must look again after asking.</summary>
    public void AskForSlot() => Interlocked.Exchange(ref _writerWaits, 1);

    /// <summary>Wakes a writer that asked for a slot, if there is one. The reader calls it before it waits. Any thread.</summary>
    public abstract void Flush();

    /// <summary>Wakes the reader if it sleeps although there are values for it. Any thread, behind a full fence.</summary>
    public virtual void Signal() { }

    /// <summary>Says that the reader is about to sleep, and passes a full fence. It looks at <see cref="HasNews"/> afterwards. Reader only.</summary>
    public virtual void AnnounceSleep() { }

    /// <summary>Whether the writer may have found the reader awake although it has written since the reader last looked. Reader only.</summary>
    public virtual bool HasNews() => false;

    /// <summary>Counts an item whose handling starts. Reader only.</summary>
    public void CountReceived(int count = 1) => Volatile.Write(ref _reading.Received, _reading.Received + count);

    /// <summary>How many items the reader's instances have started, who count for themselves: <see cref="CountReceived"/> counts others. Set by the reader, before it reads the first one; called by any thread, also when the stage has ended.</summary>
    public Func<long>? StartedByInstances { get; set; }

    /// <summary>Whether the writer has asked for a slot and was not woken. The reader gives slots back, passes a full fence, and looks then.</summary>
    protected bool IsWriterWaiting => Volatile.Read(ref _writerWaits) != 0;

    [MethodImpl(MethodImplOptions.NoInlining)] // rare, and the frequent path is short without it
    protected void WakeWriter()
    {
        if (Interlocked.Exchange(ref _writerWaits, 0) != 0)
            Writer.Wake();
    }

    /// <summary>Counts an item that had a slot; telling of it is the caller's.</summary>
    protected void CountDiscarded() => Interlocked.Increment(ref _discarded);

    /// <summary>Counts an item that was dropped out of the queue; telling of it is the caller's.</summary>
    protected void CountDroppedOldest()
    {
        CountDiscarded();
        Interlocked.Increment(ref _droppedOldest);
    }

    /// <summary>Counts an item that was dropped before it took a slot; telling of it is the caller's.</summary>
    protected void CountRefused() => Interlocked.Increment(ref _refused);

    /// <summary>Whether something may still be under way that has not seen the bit which was set before, and that is to be waited for: each write, and in some links each read. Who does it says so before it looks for the bit, and does not fence; the barrier of who waits does that.</summary>
    protected abstract bool IsInUse { get; }

    /// <summary>No slot is given out any more.</summary>
    protected const int Refusing = 1;

    /// <summary>Nothing is handed over or taken any more.</summary>
    protected const int Shutting = 2;

    /// <summary>Nothing is handed over any more, because the end marker is.</summary>
    protected const int Completing = 4;

    /// <summary>How far the end of the link has come; 0 while it is open.</summary>
    protected int Closing => Volatile.Read(ref _closing);

    /// <summary>Sets a bit of that.</summary>
    protected void Close(int bit) => Interlocked.Or(ref _closing, bit);

    /// <summary>Whether the reader reads no more.</summary>
    protected bool IsShutting => (Closing & Shutting) != 0;

    /// <summary>From here on nothing more is read and nothing is written.</summary>
    /// <returns>True for the first caller.</returns>
    protected bool BeginShut()
    {
        bool isFirst = (Interlocked.Or(ref _closing, Refusing | Shutting) & Shutting) == 0;
        WaitForUsers();
        return isFirst;
    }

    /// <summary>Returns when nothing is in use any more that has not seen the bit which was set before.</summary>
    protected void WaitForUsers()
    {
        Interlocked.MemoryBarrierProcessWide();
        var spin = default(SpinWait);
        while (IsInUse)
            spin.SpinOnce();
    }

    [Conditional("DEBUG")]
    protected void AssertSlots(int held) =>
        Debug.Assert(held >= 0 && held <= capacity, $"Link {from} -> {to} holds {held} of {capacity} slots.");

    // 1 while the writer wants to be woken for a free slot. The writer sets it and looks again; the reader gives back, passes a full fence
    // and looks then: one of the two always sees the other.
    private int _writerWaits;

    // What changes with every item is the reader's alone; both sides look at the rest with every item.
    private readonly Reading _reading = new();

    // Any thread. Those of the first two had a slot, those of the last one had none.
    private long _discarded;
    private long _droppedOldest;
    private long _refused;

    // Each bit is set once, by any thread.
    private int _closing;
    private bool _isLeftBehind;

    private sealed class Reading : OnOwnCacheLines
    {
        public long Received;

        public CacheLines Behind { get; }
    }
}

/// <summary>What went over a link.</summary>
/// <param name="Sent">Items that the writer handed over, drops included.</param>
/// <param name="Received">Items whose handling started.</param>
/// <param name="Discarded">Items that were handed over and not handled, drops included.</param>
/// <param name="Dropped">Items that were dropped because the link was full.</param>
/// <param name="Refused">Items that were dropped before they took a slot: sent and discarded, never accepted.</param>
internal readonly record struct LinkCounts(long Sent, long Received, long Discarded, long Dropped, long Refused)
{
    public long Accepted => Sent - Refused;
}

/// <inheritdoc/>
internal abstract class Link<T>(string from, string to, int capacity, ILinkEnd writer, ILinkEnd reader)
    : Link(from, to, capacity, writer, reader)
{
    /// <summary>What is queued in a link that was shut is taken by one thread at a time.</summary>
    protected Lock ShutGate { get; } = new();

    /// <summary>Takes a slot. Writer only.</summary>
    /// <returns>False when no slot is free or the link is shut.</returns>
    public abstract bool TryReserve();

    /// <summary>Gives a slot back that was reserved and not used. Writer only.</summary>
    public abstract void CancelReserve();

    /// <summary>Hands over an item into a reserved slot. Writer only.</summary>
    /// <returns>False when the link was shut or completed meanwhile; the slot is given back.</returns>
    public abstract bool WriteReserved(T item);

    /// <summary>Drops the oldest queued item. Telling <see cref="Link.OnDiscarded"/> is the caller's. Writer only.</summary>
    /// <returns>False when nothing is queued, or the link is shut.</returns>
    public abstract bool TryDropOldest(out T? oldest);

    /// <summary>Counts an item that is dropped before it takes a slot. Telling <see cref="Link.OnDiscarded"/> is the caller's. Writer only.</summary>
    /// <returns>False when the link is shut or completed; nothing is counted then.</returns>
    public bool DropNewest()
    {
        if (IsShut || IsCompleted)
            return false;
        CountRefused();
        return true;
    }

    /// <summary>Takes the next item out of the queue; its slot stays held. Reader only.</summary>
    /// <returns>False when nothing is queued, or the link was shut.</returns>
    public abstract bool TryRead(out T item);

    /// <summary>Takes the next items out of the queue, as many as there are; their slots stay held. Reader only.</summary>
    /// <returns>How many.</returns>
    public virtual int ReadMany(Span<T> items)
    {
        int count = 0;
        while (count < items.Length && TryRead(out items[count]))
            count++;
        return count;
    }

    /// <summary>Takes the next item out of the queue of a link that was shut; counting it as discarded, and <see cref="ReleaseQueued"/> then, are due. Any thread, under the gate.</summary>
    protected abstract bool TryTakeLeft(out T item);

    /// <inheritdoc/>
    public override void Shut(DiscardReason reason)
    {
        // Every write is refused from here on, so what is found now is all there will ever be.
        bool isFirst = BeginShut();
        if (isFirst)
            OnShut();

        // Whoever comes second may be told of a stage that is left behind in the middle of this, and does the rest.
        while (TryDiscardNext(out T item))
            OnDiscarded(item, reason);
        if (!isFirst)
            return;
        Writer.OnReaderClosed();
        Writer.Wake();
    }

    /// <summary>Runs once, when nothing more is read and nothing is written.</summary>
    protected virtual void OnShut() { }

    /// <summary>Gives back the slot of an item that was queued when the link was shut. Under the gate.</summary>
    protected abstract void ReleaseQueued();

    /// <summary>Takes an item that is still queued, and counts it as discarded, both at once: who finds nothing knows that all is counted.</summary>
    private bool TryDiscardNext(out T item)
    {
        lock (ShutGate)
        {
            if (!TryTakeLeft(out item))
                return false;
            CountDiscarded();
            ReleaseQueued();
            return true;
        }
    }

    /// <summary>Discards an item that was read and not handled, and gives its slot back. Reader only.</summary>
    public void Discard(T item, DiscardReason reason)
    {
        CountDiscarded();
        OnDiscarded(item, reason);
        Release(1);
    }

    /// <summary>Takes a slot and hands the item over. Writer only.</summary>
    /// <returns>False when no slot is free or the link is shut.</returns>
    public virtual bool TryWrite(T item) => TryReserve() && WriteReserved(item);

    /// <summary>The same for a writer that knows on which thread it is.</summary>
    /// <param name="item">The item.</param>
    /// <param name="turn"><see cref="Turn.Here"/>; null to do without.</param>
    public virtual bool TryWrite(T item, Turn? turn) => TryWrite(item);

    /// <summary>Hands over items, which the reader sees together. Writer only.</summary>
    /// <param name="items">The items.</param>
    /// <param name="turn"><see cref="Turn.Here"/>; null to do without.</param>
    /// <returns>How many, from the first one on: fewer when no slot is free, or the link is shut or completed.</returns>
    public virtual int WriteMany(ReadOnlySpan<T> items, Turn? turn)
    {
        int written = 0;
        while (written < items.Length && TryWrite(items[written], turn))
            written++;
        return written;
    }

    /// <summary>Hands the item over by a slot, or by what the full mode allows instead. Writer only.</summary>
    /// <param name="item">The item.</param>
    /// <param name="hasDropped">Whether an item was dropped for it; telling <see cref="Link.OnDiscarded"/> is the caller's, outside of its locks.</param>
    /// <param name="dropped">That item: an older one, or this one.</param>
    /// <returns>False when the writer has to wait or to fail, or the link is shut.</returns>
    public bool TryOffer(T item, out bool hasDropped, out T? dropped)
    {
        (hasDropped, dropped) = (false, default);
        if (TryWrite(item))
            return true;
        if (IsShut)
            return false;
        if (FullMode == FullMode.DropOldest)
        {
            // The slot of the dropped item is the writer's, unless the link is shut meanwhile.
            hasDropped = TryDropOldest(out dropped);
            if (hasDropped)
                return TryWrite(item);
        }

        if (FullMode is not (FullMode.DropOldest or FullMode.DropNewest))
            return false;
        hasDropped = DropNewest();
        dropped = item;
        return hasDropped;
    }
}
