using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Blocks;

/// <summary>
/// Where items come in from foreign code: the writing end of a link as a TPL target. It holds no items; senders and foreign sources wait
/// here, in the order in which they came, until there is a slot.
/// </summary>
/// <remarks>The state is guarded by one lock. Foreign blocks are called outside of it, with a slot reserved.</remarks>
internal sealed class EntryBlock<T>(StageNode stage, Link<T> link, TimeSpan? sendTimeout = null) : ITargetBlock<T>
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly LinkedList<Waiter> _waiters = [];
    private readonly Dictionary<ISourceBlock<T>, LinkedListNode<Waiter>> _postponed = [];
    private bool _isClosed;
    private bool _isServing;
    private int _consuming;

    /// <summary>The block that foreign sources are linked to and that they know; the entry itself unless it is part of another block.</summary>
    public ITargetBlock<T> Face { get => field ?? this; set; }

    public Task Completion => stage.Graph.Completion;

    /// <summary>Whether it is closed and nothing is on its way in any more.</summary>
    public bool IsAtRest
    {
        get
        {
            lock (_gate)
                return _isClosed && _consuming == 0 && !_isServing;
        }
    }

    public void Complete() => stage.RaiseStop();

    public void Fault(Exception exception)
    {
        ArgumentNullException.ThrowIfNull(exception);
        stage.FailFromOutside(exception);
    }

    /// <summary>Hands an item over; completes when it was accepted.</summary>
    public ValueTask SendAsync(T item, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled(cancellationToken);
        SenderWaiter? waiter = null;
        bool hasDropped;
        T? dropped;
        lock (_gate)
        {
            if (_isClosed || link.IsShut)
                return RefusedAsync(Closed());
            if (!TryAcceptLocked(item, out hasDropped, out dropped))
            {
                if (link.FullMode == FullMode.Fail && !link.IsShut)
                    return RefusedAsync(new PipelineFullException(stage.Name, link.Capacity));
                waiter = new SenderWaiter(this, item);
                waiter.Node = _waiters.AddLast(waiter);
            }
        }

        if (hasDropped)
            link.OnDiscarded(dropped, DiscardReason.Dropped);
        if (waiter is null)
            return default;
        waiter.Arm(stage.Graph.Time, sendTimeout, cancellationToken);
        ServeWaiters();
        return new ValueTask(waiter.Task);
    }

    /// <summary>Hands an item over if there is a slot.</summary>
    public bool TrySend(T item)
    {
        bool isAccepted, hasDropped;
        T? dropped;
        lock (_gate)
        {
            if (_isClosed || link.IsShut)
                throw Closed();
            isAccepted = TryAcceptLocked(item, out hasDropped, out dropped);
        }

        if (hasDropped)
            link.OnDiscarded(dropped, DiscardReason.Dropped);
        return isAccepted || (link.IsShut ? throw Closed() : false);
    }

    public DataflowMessageStatus OfferMessage(DataflowMessageHeader messageHeader, T messageValue, ISourceBlock<T>? source, bool consumeToAccept)
    {
        if (!messageHeader.IsValid)
            throw new ArgumentException("The message header is not valid.", nameof(messageHeader));
        if (source is null && consumeToAccept)
            throw new ArgumentException("A message without a source cannot be consumed.", nameof(consumeToAccept));
        bool hasDropped = false, mustConsume = false;
        T? dropped = default;
        DataflowMessageStatus status;
        lock (_gate)
        {
            if (_isClosed)
                return DataflowMessageStatus.DecliningPermanently;
            if (consumeToAccept && IsNobodyBeforeLocked && link.TryReserve())
            {
                _consuming++;
                mustConsume = true;
                status = DataflowMessageStatus.Accepted;
            }
            else if (!consumeToAccept && TryAcceptLocked(messageValue, out hasDropped, out dropped))
            {
                status = DataflowMessageStatus.Accepted;
            }
            else if (source is null || link.FullMode == FullMode.Fail)
            {
                status = DataflowMessageStatus.Declined;
            }
            else
            {
                PostponeLocked(source, messageHeader);
                status = DataflowMessageStatus.Postponed;
            }
        }

        if (hasDropped)
            link.OnDiscarded(dropped, DiscardReason.Dropped);
        if (mustConsume && !Consume(source!, messageHeader))
            return DataflowMessageStatus.NotAvailable;
        if (status == DataflowMessageStatus.Postponed)
            ServeWaiters();
        return status;
    }

    /// <summary>Lets nobody in any more and sends all who wait away. Any thread; only the first call counts.</summary>
    public void Close()
    {
        List<Waiter> waiters;
        lock (_gate)
        {
            if (_isClosed)
                return;
            _isClosed = true;
            waiters = [.. _waiters];
            _waiters.Clear();
            _postponed.Clear();
        }

        // The stage may have looked between being told to end and this.
        stage.Wake();
        foreach (Waiter waiter in waiters)
        {
            try
            {
                waiter.Refuse(this);
            }
            catch (Exception error)
            {
                stage.Graph.AddSecondary(new StageFaultedException(stage.Name, error));
            }
        }
    }

    /// <summary>A slot may be free: lets in who waits, on the thread pool. Any thread.</summary>
    public void ServeWaiters()
    {
        lock (_gate)
        {
            if (_isServing || _isClosed || _waiters.Count == 0)
                return;
            link.AskForSlot();
            if (!link.TryReserve())
                return;
            _isServing = true;
        }

        ThreadPool.UnsafeQueueUserWorkItem(static self => self.Serve(), this, preferLocal: false);
    }

    /// <summary>Serves waiters with a slot reserved for the first of them.</summary>
    private void Serve()
    {
        while (true)
        {
            Waiter? waiter;
            lock (_gate)
            {
                waiter = _waiters.First?.Value;
                if (waiter is null || _isClosed)
                {
                    link.CancelReserve();
                    _isServing = false;
                    break;
                }

                _waiters.RemoveFirst();
                if (waiter is ForeignWaiter foreign)
                    _postponed.Remove(foreign.Source);
                _consuming++;
            }

            waiter.Accept(this);
            lock (_gate)
            {
                if (_waiters.Count > 0 && !_isClosed)
                {
                    if (link.TryReserve())
                        continue;
                    link.AskForSlot();
                    if (link.TryReserve())
                        continue;
                }

                _isServing = false;
                break;
            }
        }

        stage.Wake();
    }

    /// <summary>Whether nobody waits; who is being served is no longer in the list, and must not be overtaken either.</summary>
    private bool IsNobodyBeforeLocked => _waiters.Count == 0 && (!_isServing || _consuming == 0);

    /// <summary>Keeps one message per source; a newer one takes the place of the older.</summary>
    private void PostponeLocked(ISourceBlock<T> source, DataflowMessageHeader header)
    {
        var waiter = new ForeignWaiter(source, header);
        if (_postponed.TryGetValue(source, out LinkedListNode<Waiter>? node))
            node.Value = waiter;
        else
            _postponed.Add(source, _waiters.AddLast(waiter));
    }

    /// <summary>Accepts an item that nobody waits before, by a free slot or by what the full mode allows.</summary>
    private bool TryAcceptLocked(T item, out bool hasDropped, out T? dropped)
    {
        (hasDropped, dropped) = (false, default);
        return IsNobodyBeforeLocked && link.TryOffer(item, out hasDropped, out dropped);
    }

    /// <summary>Takes a foreign source's message into the reserved slot.</summary>
    private bool Consume(ISourceBlock<T> source, DataflowMessageHeader header)
    {
        bool isConsumed = false;
        T? value = default;
        try
        {
            value = source.ConsumeMessage(header, Face, out isConsumed);
        }
        finally
        {
            bool isLost = false;
            lock (_gate)
            {
                if (!isConsumed)
                    link.CancelReserve();
                else
                    isLost = !link.WriteReserved(value!);
                _consuming--;
            }

            // Its source has given it away and the pipeline has ended meanwhile: nobody else will ever see it.
            if (isLost)
                stage.NoteDiscarded(value, stage.IsDiscarding ? stage.ReasonToDiscard : DiscardReason.NoDemand);
            stage.Wake();
        }

        return isConsumed;
    }

    /// <summary>A send that failed at once. Its exception counts as observed, also when the sender never looks.</summary>
    private static ValueTask RefusedAsync(Exception error)
    {
        Task failed = Task.FromException(error);
        _ = failed.Exception;
        return new ValueTask(failed);
    }

    private PipelineClosedException Closed() => new(stage.Name, stage.Graph.State, stage.Graph.Cause);

    /// <summary>Someone who waits for a slot.</summary>
    private abstract class Waiter
    {
        /// <summary>Hands its item over into the reserved slot.</summary>
        public abstract void Accept(EntryBlock<T> entry);

        /// <summary>Goes away empty-handed, because the entry is closed.</summary>
        public abstract void Refuse(EntryBlock<T> entry);
    }

    /// <summary>A foreign source whose message was postponed.</summary>
    private sealed class ForeignWaiter(ISourceBlock<T> source, DataflowMessageHeader header) : Waiter
    {
        public ISourceBlock<T> Source => source;

        public override void Accept(EntryBlock<T> entry)
        {
            try
            {
                entry.Consume(source, header);
            }
            catch (Exception error)
            {
                entry.Stage.Fail(error);
            }
        }

        // A reservation that is released makes the source offer again, and learn that nobody takes it.
        public override void Refuse(EntryBlock<T> entry)
        {
            if (!source.ReserveMessage(header, entry.Face))
                return;
            try
            {
                source.ReleaseReservation(header, entry.Face);
            }
            catch (InvalidOperationException)
            {
                // A block that faults drops its messages, and does not know the reservation any more: there is nothing to release.
            }
        }
    }

    /// <summary>A caller of <see cref="SendAsync"/>.</summary>
    private sealed class SenderWaiter(EntryBlock<T> entry, T item) : Waiter
    {
        private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private CancellationTokenRegistration _registration;
        private ITimer? _timer;

        public LinkedListNode<Waiter>? Node { get; set; }

        public Task Task => _done.Task;

        public void Arm(TimeProvider time, TimeSpan? timeout, CancellationToken cancellationToken)
        {
            if (timeout is { } limit)
                _timer = time.CreateTimer(static state => ((SenderWaiter)state!).GiveUp(new TimeoutException("No slot became free within SendTimeout. The item was not accepted.")), this, limit, Timeout.InfiniteTimeSpan);
            if (cancellationToken.CanBeCanceled)
                _registration = cancellationToken.UnsafeRegister(static (state, token) => ((SenderWaiter)state!).GiveUp(new OperationCanceledException(token)), this);
            if (_done.Task.IsCompleted)
                Disarm();
        }

        public override void Accept(EntryBlock<T> entry)
        {
            bool isWritten;
            lock (entry._gate)
            {
                isWritten = entry.Link.WriteReserved(item);
                entry._consuming--;
            }

            if (isWritten)
                _done.TrySetResult();
            else
                Fail(entry.Closed());
            Disarm();
        }

        public override void Refuse(EntryBlock<T> entry)
        {
            Fail(entry.Closed());
            Disarm();
        }

        private void GiveUp(Exception reason)
        {
            lock (entry._gate)
            {
                // Whoever takes the waiter out of the list decides its end.
                if (Node?.List is null)
                    return;
                entry._waiters.Remove(Node);
            }

            if (reason is OperationCanceledException canceled)
                _done.TrySetCanceled(canceled.CancellationToken);
            else
                Fail(reason);
            Disarm();
        }

        private void Fail(Exception error)
        {
            _done.TrySetException(error);
            _ = _done.Task.Exception;
        }

        private void Disarm()
        {
            _timer?.Dispose();
            _registration.Unregister();
        }
    }

    private StageNode Stage => stage;

    private Link<T> Link => link;
}
