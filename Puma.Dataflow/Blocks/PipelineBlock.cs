using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow.Blocks;

/// <summary>A run as a TPL propagator: its entry and its exit together.</summary>
internal sealed class PipelineBlock<TIn, TOut>(EntryBlock<TIn> entry, ExitBlock<TOut> exit) : IPropagatorBlock<TIn, TOut>, IReceivableSourceBlock<TOut>
{
    public Task Completion => entry.Completion;

    public void Complete() => entry.Complete();

    public void Fault(Exception exception) => entry.Fault(exception);

    public DataflowMessageStatus OfferMessage(DataflowMessageHeader messageHeader, TIn messageValue, ISourceBlock<TIn>? source, bool consumeToAccept) =>
        entry.OfferMessage(messageHeader, messageValue, source, consumeToAccept);

    public IDisposable LinkTo(ITargetBlock<TOut> target, DataflowLinkOptions linkOptions) => exit.LinkTo(target, linkOptions);

    public bool TryReceive(Predicate<TOut>? filter, out TOut item) => exit.TryReceive(filter, out item);

    public bool TryReceiveAll(out IList<TOut> items) => exit.TryReceiveAll(out items);

    public TOut? ConsumeMessage(DataflowMessageHeader messageHeader, ITargetBlock<TOut> target, out bool messageConsumed) =>
        exit.ConsumeMessage(messageHeader, target, out messageConsumed);

    public bool ReserveMessage(DataflowMessageHeader messageHeader, ITargetBlock<TOut> target) => exit.ReserveMessage(messageHeader, target);

    public void ReleaseReservation(DataflowMessageHeader messageHeader, ITargetBlock<TOut> target) => exit.ReleaseReservation(messageHeader, target);
}
