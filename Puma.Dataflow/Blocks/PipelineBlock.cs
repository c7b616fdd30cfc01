using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow.Blocks;

/// <summary>A run as a TPL propagator: its entry and its exit together.</summary>
internal sealed class PipelineBlock<TIn, TOut> : IPropagatorBlock<TIn, TOut>, IReceivableSourceBlock<TOut>
{
    private readonly EntryBlock<TIn> _entry;
    private readonly ExitBlock<TOut> _exit;

    public PipelineBlock(EntryBlock<TIn> entry, ExitBlock<TOut> exit)
    {
        (_entry, _exit) = (entry, exit);
        _entry.Face = this;
        _exit.Face = this;
    }

    /// <summary>Outputs that wait to be taken.</summary>
    public int Count => _exit.Count;

    public Task Completion => _entry.Completion;

    public void Complete() => _entry.Complete();

    public void Fault(Exception exception) => _entry.Fault(exception);

    public DataflowMessageStatus OfferMessage(DataflowMessageHeader messageHeader, TIn messageValue, ISourceBlock<TIn>? source, bool consumeToAccept) =>
        _entry.OfferMessage(messageHeader, messageValue, source, consumeToAccept);

    public IDisposable LinkTo(ITargetBlock<TOut> target, DataflowLinkOptions linkOptions) => _exit.LinkTo(target, linkOptions);

    public bool TryReceive(Predicate<TOut>? filter, out TOut item) => _exit.TryReceive(filter, out item);

    public bool TryReceiveAll(out IList<TOut> items) => _exit.TryReceiveAll(out items);

    public TOut? ConsumeMessage(DataflowMessageHeader messageHeader, ITargetBlock<TOut> target, out bool messageConsumed) =>
        _exit.ConsumeMessage(messageHeader, target, out messageConsumed);

    public bool ReserveMessage(DataflowMessageHeader messageHeader, ITargetBlock<TOut> target) => _exit.ReserveMessage(messageHeader, target);

    public void ReleaseReservation(DataflowMessageHeader messageHeader, ITargetBlock<TOut> target) => _exit.ReleaseReservation(messageHeader, target);
}
