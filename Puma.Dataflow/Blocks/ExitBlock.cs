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

    private BufferBlock<T> Buffer => link.Block;

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

    public bool TryReceiveAll(out IList<T> items)
    {
        bool isReceived = Buffer.TryReceiveAll(out items!);
        if (isReceived)
            stage.OnTaken(items.Count);
        return isReceived;
    }

    public T? ConsumeMessage(DataflowMessageHeader messageHeader, ITargetBlock<T> target, out bool messageConsumed)
    {
        if (link.IsShut)
        {
            messageConsumed = false;
            return default;
        }

        T? value = ((ISourceBlock<T>)Buffer).ConsumeMessage(messageHeader, OuterOrNull(target)!, out messageConsumed);
        if (messageConsumed)
            stage.OnTaken(1);
        return value;
    }

    public bool ReserveMessage(DataflowMessageHeader messageHeader, ITargetBlock<T> target) =>
        !link.IsShut && ((ISourceBlock<T>)Buffer).ReserveMessage(messageHeader, OuterOrNull(target)!);

    public void ReleaseReservation(DataflowMessageHeader messageHeader, ITargetBlock<T> target) =>
        ((ISourceBlock<T>)Buffer).ReleaseReservation(messageHeader, OuterOrNull(target)!);

    /// <summary>Tells the linked targets how the stream ended. Called once, by the exit's stream.</summary>
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
        switch (end.Kind)
        {
            case EndKind.Completed:
                target.Complete();
                break;
            case EndKind.Faulted:
                target.Fault(end.Cause!);
                break;
            default:
                // A target must not take a truncated stream for a whole one.
                target.Fault(new OperationCanceledException($"The pipeline was cancelled before '{stage.Name}' had all its items."));
                break;
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
            DataflowMessageStatus status = target.OfferMessage(messageHeader, messageValue, exit, consumeToAccept);

            // A message that had to be consumed was counted there.
            if (status == DataflowMessageStatus.Accepted && !consumeToAccept)
                exit.OnTakenByOffer();
            return status;
        }

        public void Complete() => exit.OnBufferCompleted(target);

        public void Fault(Exception exception) => exit.OnBufferCompleted(target);
    }

    private void OnTakenByOffer() => stage.OnTaken(1);
}
