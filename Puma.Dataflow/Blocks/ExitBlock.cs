using System.Runtime.CompilerServices;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Blocks;

/// <summary>
/// Where foreign code takes items out: the reading end of a link as a TPL source. Offering, reserving and linking are those of the link's
/// own buffer block; this class stands between it and the outside to give slots back, and to say how the stream ended.
/// </summary>
internal sealed class ExitBlock<T>(ExitStage<T> stage, BufferBlockLink<T> link) : IReceivableSourceBlock<T>
{
    private readonly Lock _gate = new();
    private readonly ConditionalWeakTable<ITargetBlock<T>, OuterTarget> _targets = [];

    // Guarded by _gate: targets that the buffer block has completed and that wait for the exit's own end.
    private readonly List<ITargetBlock<T>> _toBeTold = [];
    private EndMarker? _end;

    private long _lastConsumed;

    private BufferBlock<T> Buffer => link.Block;

    /// <summary>The block that foreign targets are linked from and that they know; the exit itself unless it is part of another block.</summary>
    public ISourceBlock<T> Face { get => field ?? this; set; }

    public int Count => link.Queued;

    public Task Completion => stage.Graph.Completion;

    public void Complete() => stage.Graph.Complete();

    public void Fault(Exception exception)
    {
        ArgumentNullException.ThrowIfNull(exception);
        stage.FailFromOutside(exception);
    }

    public IDisposable LinkTo(ITargetBlock<T> target, DataflowLinkOptions linkOptions)
    {
        ArgumentNullException.ThrowIfNull(target);
        ArgumentNullException.ThrowIfNull(linkOptions);
        return Buffer.LinkTo(OuterFor(target), linkOptions);
    }

    public bool TryReceive(Predicate<T>? filter, out T item)
    {
        bool isReceived = Buffer.TryReceive(filter, out item!);
        if (isReceived)
            stage.OnTaken(1);
        return isReceived;
    }

    /// <summary>Takes an item that keeps its slot until <see cref="EndTake"/>: the exit, and so the run, waits for it.</summary>
    public bool TryBeginTake(out T item) => Buffer.TryReceive(null, out item!);

    /// <summary>The foreign code has done with the item that it took.</summary>
    public void EndTake(bool hasFailed) => stage.OnTaken(1, hasFailed);

    /// <summary>Waits for the next item; how the stream ended is told by the run.</summary>
    /// <returns>False when there is none any more, for whatever reason.</returns>
    public async ValueTask<bool> HasMoreAsync()
    {
        try
        {
            return await this.OutputAvailableAsync(CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception)
        {
            return false;
        }
    }

    public bool TryReceiveAll(out IList<T> items)
    {
        bool isReceived = Buffer.TryReceiveAll(out items!);
        if (isReceived)
            stage.OnTaken(items.Count);
        return isReceived;
    }

    public T? ConsumeMessage(DataflowMessageHeader messageHeader, ITargetBlock<T> target, out bool messageConsumed)
    {
        T? value = ((ISourceBlock<T>)Buffer).ConsumeMessage(messageHeader, OuterOrNull(target)!, out messageConsumed);
        if (messageConsumed)
        {
            Volatile.Write(ref _lastConsumed, messageHeader.Id);
            stage.OnTaken(1);
        }
        else
        {
            stage.Wake();
        }

        return value;
    }

    public bool ReserveMessage(DataflowMessageHeader messageHeader, ITargetBlock<T> target) =>
        !link.IsShut && ((ISourceBlock<T>)Buffer).ReserveMessage(messageHeader, OuterOrNull(target)!);

    public void ReleaseReservation(DataflowMessageHeader messageHeader, ITargetBlock<T> target)
    {
        ((ISourceBlock<T>)Buffer).ReleaseReservation(messageHeader, OuterOrNull(target)!);

        // An exit that gives up waits for it.
        stage.Wake();
    }

    /// <summary>Tells the linked targets how the stream ended. Called once.</summary>
    public void TellEnd(EndMarker end)
    {
        List<ITargetBlock<T>> targets;
        lock (_gate)
        {
            _end = end;
            targets = [.. _toBeTold];
            _toBeTold.Clear();
        }

        foreach (ITargetBlock<T> target in targets)
            Tell(target, end);
    }

    private void OnBufferCompleted(ITargetBlock<T> target)
    {
        EndMarker? end;
        lock (_gate)
        {
            end = _end;
            if (end is null)
                _toBeTold.Add(target);
        }

        if (end is not null)
            Tell(target, end);
    }

    private void Tell(ITargetBlock<T> target, EndMarker end)
    {
        try
        {
            // A target must not take a truncated stream for a whole one.
            if (end.Kind == EndKind.Completed)
                target.Complete();
            else
                target.Fault(end.Cause ?? stage.Graph.Cause ?? new OperationCanceledException($"The pipeline was cancelled before '{stage.Name}' had all its items."));
        }
        catch (Exception error)
        {
            stage.Graph.AddSecondary(new StageFaultedException(stage.Name, error));
        }
    }

    private OuterTarget OuterFor(ITargetBlock<T> target) => _targets.GetValue(target, t => new OuterTarget(this, t));

    private OuterTarget? OuterOrNull(ITargetBlock<T> target) => target is null ? null : OuterFor(target);

    /// <summary>Stands for a foreign target at the buffer block, so that the target sees the exit as its source.</summary>
    private sealed class OuterTarget(ExitBlock<T> exit, ITargetBlock<T> target) : ITargetBlock<T>
    {
        public Task Completion => target.Completion;

        public DataflowMessageStatus OfferMessage(DataflowMessageHeader messageHeader, T messageValue, ISourceBlock<T>? source, bool consumeToAccept)
        {
            // What is left in a link that is shut is discarded.
            if (exit.IsShut)
                return DataflowMessageStatus.Declined;
            try
            {
                DataflowMessageStatus status = target.OfferMessage(messageHeader, messageValue, exit.Face, consumeToAccept);

                // A target may consume a message while it is offered; then it was counted there. No other target can have: the buffer block lets
                // nobody consume while it offers.
                if (status == DataflowMessageStatus.Accepted && Volatile.Read(ref exit._lastConsumed) != messageHeader.Id)
                    exit.OnTakenByOffer();
                return status;
            }
            catch (Exception error)
            {
                // It would fault the buffer block, which drops what it holds without a trace.
                exit.Fault(error);
                return DataflowMessageStatus.Declined;
            }
        }

        public void Complete() => exit.OnBufferCompleted(target);

        public void Fault(Exception exception) => exit.OnBufferCompleted(target);
    }

    private bool IsShut => link.IsShut;

    private void OnTakenByOffer() => stage.OnTaken(1);
}
