namespace Puma.Dataflow.Lifecycle;

/// <summary>
/// The fates of the items whose handling started at one stage. Written by the stage's own stream only, read by anyone.
/// What was accepted, queued and emitted is counted by the links.
/// </summary>
internal sealed class StageCounters
{
    private readonly long[] _discardedByReason = new long[Enum.GetValues<DiscardReason>().Length];
    private long _delivered;
    private long _skipped;
    private long _deadLettered;
    private long _failed;
    private long _discarded;
    private long _repeated;

    public long Delivered => Volatile.Read(ref _delivered);

    public long Skipped => Volatile.Read(ref _skipped);

    public long DeadLettered => Volatile.Read(ref _deadLettered);

    public long Failed => Volatile.Read(ref _failed);

    /// <summary>Items that were discarded after their handling had started.</summary>
    public long Discarded => Volatile.Read(ref _discarded);

    /// <summary>Outputs that were passed on again when an item was replayed.</summary>
    public long Repeated => Volatile.Read(ref _repeated);

    public long Settled => Delivered + Skipped + DeadLettered + Failed + Discarded;

    public void CountDelivered(int count = 1) => Volatile.Write(ref _delivered, _delivered + count);

    public void CountSkipped() => Volatile.Write(ref _skipped, _skipped + 1);

    public void CountDeadLettered() => Volatile.Write(ref _deadLettered, _deadLettered + 1);

    public void CountFailed() => Volatile.Write(ref _failed, _failed + 1);

    public void CountDiscarded() => Volatile.Write(ref _discarded, _discarded + 1);

    public void CountRepeated() => Volatile.Write(ref _repeated, _repeated + 1);

    /// <summary>Notes why an item was discarded, in work or queued. Any thread.</summary>
    public void NoteReason(DiscardReason reason) => Interlocked.Increment(ref _discardedByReason[(int)reason]);

    /// <summary>How many items were discarded for a reason.</summary>
    public long DiscardedFor(DiscardReason reason) => Interlocked.Read(ref _discardedByReason[(int)reason]);
}
