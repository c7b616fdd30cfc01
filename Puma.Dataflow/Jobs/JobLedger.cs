using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Puma.Dataflow.Isolation.Codec;

namespace Puma.Dataflow.Jobs;

/// <summary>All jobs of an executor that have not ended, and how the others did. Any thread.</summary>
/// <param name="name">The name of the executor.</param>
internal sealed class JobLedger(string name)
{
    private readonly ConcurrentDictionary<long, JobTicket> _open = [];
    private long _lastId;
    private long _submitted, _begun, _succeeded, _failed, _canceled, _endedBegun;

    public string Name => name;

    /// <summary>By which arguments and results travel; null when the workers are in this process. Set before the first job.</summary>
    public ItemCodecs? Codecs { get; set; }

    /// <summary>Where the run tells what becomes of jobs. Set before the first job.</summary>
    public ILogger Logger { get; set; } = NullLogger.Instance;

    public long Succeeded => Volatile.Read(ref _succeeded);

    public long Failed => Volatile.Read(ref _failed);

    public long Canceled => Volatile.Read(ref _canceled);

    public long Submitted => Volatile.Read(ref _submitted);

    /// <summary>Jobs that a worker has, and those whose answer is on its way.</summary>
    public long Running => Math.Max(0, Volatile.Read(ref _begun) - Volatile.Read(ref _endedBegun));

    /// <summary>Jobs that have not ended.</summary>
    public long Open => Math.Max(0, Submitted - Succeeded - Failed - Canceled);

    public long Add(JobTicket ticket)
    {
        long id = Interlocked.Increment(ref _lastId);
        Interlocked.Increment(ref _submitted);
        _open[id] = ticket;
        return id;
    }

    public void NoteBegun() => Interlocked.Increment(ref _begun);

    public void NoteEnded(JobTicket ticket, TaskStatus how, bool hasBegun)
    {
        _open.TryRemove(ticket.Id, out _);
        if (hasBegun)
            Interlocked.Increment(ref _endedBegun);
        Interlocked.Increment(ref how == TaskStatus.RanToCompletion ? ref _succeeded : ref how == TaskStatus.Canceled ? ref _canceled : ref _failed);
    }

    /// <summary>Hands the answer to a job to its caller.</summary>
    public void Answer(JobReply reply)
    {
        if (_open.TryGetValue(reply.Id, out JobTicket? ticket))
            ticket.Answer(reply);
    }

    /// <summary>Ends what the run gave up: a job that it did not do, or an answer that it did not pass on.</summary>
    public void OnDiscarded(DiscardedItem discarded)
    {
        switch (discarded.Item)
        {
            case JobReply reply:
                Answer(reply);
                break;
            case DeadLetter<JobCall> letter:
                letter.Item.Ticket!.Fail(letter.Error, letter.ItemNumber);
                break;
            case JobCall { Ticket: { } ticket } when discarded.Reason != DiscardReason.Faulted:
                ticket.Withdraw();
                break;
            default:
                // When the run has ended, it is known what faulted it.
                break;
        }
    }

    /// <summary>Ends every job that has not: the run has ended.</summary>
    /// <param name="cause">What faulted it; null when it was cancelled.</param>
    public void EndAll(StageFaultedException? cause)
    {
        foreach (JobTicket ticket in _open.Values)
        {
            if (cause is null)
                ticket.Withdraw();
            else
                ticket.GiveUp(cause);
        }
    }
}
