using System.Collections.Concurrent;

namespace Puma.Dataflow.Benchmarks;

/// <summary>What happened to each item, as the code around the pipeline saw it: no number of the library is asked. Any thread.</summary>
internal sealed class ChaosLedger
{
    private readonly ConcurrentDictionary<long, int> _fates = [];
    private long _accepted;
    private long _arrived;
    private long _deadLettered;
    private long _discarded;
    private long _failed;
    private long _duplicates;
    private long _disorders;
    private long _settled;
    private long _maxInFlight;
    private long _last = -1;

    public long Accepted => Interlocked.Read(ref _accepted);

    public long Delivered => Interlocked.Read(ref _arrived) - Duplicates;

    public long DeadLettered => Interlocked.Read(ref _deadLettered);

    public long Discarded => Interlocked.Read(ref _discarded);

    public long Failed => Interlocked.Read(ref _failed);

    /// <summary>How many items had a second fate.</summary>
    public long Duplicates => Interlocked.Read(ref _duplicates);

    /// <summary>How many items arrived behind a later one.</summary>
    public long Disorders => Interlocked.Read(ref _disorders);

    public long MaxInFlight => Interlocked.Read(ref _maxInFlight);

    /// <summary>How many accepted items have no fate.</summary>
    public long Missing { get; private set; }

    public void OnAccepted()
    {
        long inFlight = Interlocked.Increment(ref _accepted) - Interlocked.Read(ref _settled);
        if (inFlight > _maxInFlight)
            Interlocked.Exchange(ref _maxInFlight, inFlight);
    }

    public void OnArrived(long item)
    {
        Interlocked.Increment(ref _arrived);
        if (item < Interlocked.Exchange(ref _last, item))
            Interlocked.Increment(ref _disorders);
        Settle(item);
    }

    public void OnDeadLetter(long item)
    {
        Interlocked.Increment(ref _deadLettered);
        Settle(item);
    }

    public void OnDiscarded(long item)
    {
        Interlocked.Increment(ref _discarded);
        Settle(item);
    }

    public void OnFailed(long item)
    {
        Interlocked.Increment(ref _failed);
        Settle(item);
    }

    /// <summary>Closes the books of one run.</summary>
    /// <param name="from">Its first item.</param>
    /// <param name="to">The first item that was not accepted any more.</param>
    public void Close(long from, long to)
    {
        for (long item = from; item < to; item++)
        {
            if (!_fates.ContainsKey(item))
                Missing++;
        }
    }

    private void Settle(long item)
    {
        if (_fates.AddOrUpdate(item, 1, static (_, n) => n + 1) > 1)
            Interlocked.Increment(ref _duplicates);
        Interlocked.Increment(ref _settled);
    }
}
