using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow.Tests.Blocks;

/// <summary>What a <see cref="ScriptedTarget"/> answers to an offer.</summary>
public enum Answer
{
    Accept,

    /// <summary>Consumes the message while it is offered, needed or not. A buffer block then counts it twice, so scripts leave it out.</summary>
    Consume,
    Decline,
    Postpone,
}

/// <summary>A foreign target that answers as it is told, and keeps what it saw.</summary>
internal sealed class ScriptedTarget : ITargetBlock<int>
{
    private readonly Lock _gate = new();
    private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<int> _taken = [];
    private readonly List<string> _ends = [];
    private int _offers;
    private (DataflowMessageHeader Header, int Value, ISourceBlock<int> Source)? _offer;
    private (DataflowMessageHeader Header, int Value, ISourceBlock<int> Source)? _reserved;

    public Answer Answer { get; set; }

    public Task Completion => _completion.Task;

    /// <summary>The source that the offers named, if it was always the same.</summary>
    public HashSet<ISourceBlock<int>> Sources { get; } = [];

    public bool HasReservation => _reserved is not null;

    public string State
    {
        get
        {
            lock (_gate)
                return $"{_offers} offers; took {string.Join(' ', _taken)}; offered {(_offer is { } o ? $"#{o.Header.Id}={o.Value}" : "-")}; ends {string.Join(' ', _ends)}";
        }
    }

    public IReadOnlyList<int> Taken
    {
        get
        {
            lock (_gate)
                return [.. _taken];
        }
    }

    public DataflowMessageStatus OfferMessage(DataflowMessageHeader messageHeader, int messageValue, ISourceBlock<int>? source, bool consumeToAccept)
    {
        lock (_gate)
        {
            _offers++;
            Sources.Add(source!);
            _offer = (messageHeader, messageValue, source!);
            switch (Answer)
            {
                case Answer.Accept when !consumeToAccept:
                    _taken.Add(messageValue);
                    _offer = null;
                    return DataflowMessageStatus.Accepted;
                case Answer.Accept or Answer.Consume:
                    int value = source!.ConsumeMessage(messageHeader, this, out bool isConsumed);
                    _offer = null;
                    if (!isConsumed)
                        return DataflowMessageStatus.NotAvailable;
                    _taken.Add(value);
                    return DataflowMessageStatus.Accepted;
                case Answer.Decline:
                    _offer = null;
                    return DataflowMessageStatus.Declined;
                default:
                    return DataflowMessageStatus.Postponed;
            }
        }
    }

    /// <summary>Reserves what was postponed last.</summary>
    public string Reserve()
    {
        if (_offer is not { } offer || _reserved is not null)
            return "nothing";
        if (!offer.Source.ReserveMessage(offer.Header, this))
            return "refused";
        _reserved = offer;
        return $"reserved #{offer.Header.Id}";
    }

    /// <summary>Consumes what is reserved, else what was postponed last.</summary>
    public string Consume()
    {
        if ((_reserved ?? _offer) is not { } offer)
            return "nothing";
        bool wasReserved = _reserved is not null;
        _reserved = null;

        // The source offers its next message as soon as this one is taken, and that may be accepted before this method goes on.
        int place;
        lock (_gate)
        {
            place = _taken.Count;
            _taken.Add(0);
        }

        bool isConsumed = false;
        int value = 0;
        try
        {
            value = offer.Source.ConsumeMessage(offer.Header, this, out isConsumed);
        }
        finally
        {
            lock (_gate)
            {
                // A new offer may have come meanwhile.
                if (_offer?.Header == offer.Header)
                    _offer = null;
                if (isConsumed)
                    _taken[place] = value;
                else
                    _taken.RemoveAt(place);
            }
        }

        return $"consumed {isConsumed} {value} reserved {wasReserved}";
    }

    public string Release()
    {
        if (_reserved is not { } offer)
            return "nothing";
        _reserved = null;
        offer.Source.ReleaseReservation(offer.Header, this);
        return $"released #{offer.Header.Id}";
    }

    public void Complete() => End("completed", static c => c.TrySetResult());

    public void Fault(Exception exception) => End(Describe(exception), static c => c.TrySetResult());

    /// <summary>The failure behind whatever layers it was given.</summary>
    public static string Describe(Exception error) => error switch
    {
        AggregateException aggregate => Describe(aggregate.InnerException!),
        StageFaultedException { InnerException: { } cause } => Describe(cause),
        OperationCanceledException => "canceled",
        _ => $"faulted {error.Message}",
    };

    private void End(string how, Action<TaskCompletionSource> end)
    {
        lock (_gate)
            _ends.Add(how);
        end(_completion);
    }
}

/// <summary>A foreign source of one message at a time, offered by hand, that checks who takes it.</summary>
internal sealed class ScriptedSource : ISourceBlock<int>
{
    private readonly Lock _gate = new();
    private readonly List<string> _log = [];
    private ITargetBlock<int>? _target;
    private ITargetBlock<int>? _reservedFor;
    private long _lastId;
    private int? _message;

    public Task Completion { get; } = new TaskCompletionSource().Task;

    /// <summary>Takes a message back when somebody wants to consume it.</summary>
    public bool TakesBack { get; set; }

    /// <summary>Faults between a reservation and its release, as a block that then knows of no reservation.</summary>
    public bool FaultsWhenReserved { get; set; }

    public bool HasMessage
    {
        get
        {
            lock (_gate)
                return _message is not null;
        }
    }

    public string State
    {
        get
        {
            lock (_gate)
                return $"{string.Join(' ', _log)}; message {_message?.ToString() ?? "-"}";
        }
    }

    /// <summary>Offers a new message; a postponed older one is replaced.</summary>
    public DataflowMessageStatus Offer(ITargetBlock<int> target, int value, bool consumeToAccept)
    {
        long id;
        lock (_gate)
        {
            _target = target;
            _message = value;
            id = ++_lastId;
        }

        DataflowMessageStatus status = target.OfferMessage(new DataflowMessageHeader(id), value, this, consumeToAccept);
        lock (_gate)
        {
            if (status != DataflowMessageStatus.Postponed && _lastId == id)
                _message = null;
        }

        return status;
    }

    /// <summary>Takes the postponed message back, so that it is no longer available.</summary>
    public void TakeBack()
    {
        lock (_gate)
            _message = null;
    }

    public int ConsumeMessage(DataflowMessageHeader messageHeader, ITargetBlock<int> target, out bool messageConsumed)
    {
        lock (_gate)
        {
            messageConsumed = ReferenceEquals(target, _target) && messageHeader.Id == _lastId && _message is not null && !TakesBack;
            int value = messageConsumed ? _message!.Value : 0;
            _log.Add(ReferenceEquals(target, _target) ? $"consume#{messageHeader.Id}={messageConsumed}" : "stranger");
            if (messageConsumed || TakesBack)
                _message = null;
            _reservedFor = null;
            return value;
        }
    }

    public bool ReserveMessage(DataflowMessageHeader messageHeader, ITargetBlock<int> target)
    {
        lock (_gate)
        {
            bool isReserved = ReferenceEquals(target, _target) && messageHeader.Id == _lastId && _message is not null && _reservedFor is null;
            _log.Add(ReferenceEquals(target, _target) ? $"reserve#{messageHeader.Id}={isReserved}" : "stranger");
            if (isReserved)
                _reservedFor = target;
            return isReserved;
        }
    }

    public void ReleaseReservation(DataflowMessageHeader messageHeader, ITargetBlock<int> target)
    {
        lock (_gate)
        {
            _log.Add(ReferenceEquals(_reservedFor, target) ? $"release#{messageHeader.Id}" : "stranger");
            _reservedFor = null;
            if (FaultsWhenReserved)
                throw new InvalidOperationException("The target does not have the message reserved.");
        }
    }

    public IDisposable LinkTo(ITargetBlock<int> target, DataflowLinkOptions linkOptions) => throw new NotSupportedException();

    public void Complete() => throw new NotSupportedException();

    public void Fault(Exception exception) => throw new NotSupportedException();
}
