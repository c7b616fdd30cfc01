using System.Diagnostics.CodeAnalysis;
using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow;

/// <summary>Something outside of the library that takes items and is told how they end: a block, a channel, a delegate.</summary>
/// <typeparam name="T">The type in which the pipeline hands the items over.</typeparam>
internal abstract class ForeignTarget<T>
{
    /// <summary>The outside object; two targets with the same key are the same target.</summary>
    public abstract object Key { get; }

    /// <summary>Whether it takes nothing more once it was completed.</summary>
    public virtual bool IsSingleUse => true;

    /// <summary>Ends when the outside has ended.</summary>
    /// <returns>False when it cannot tell.</returns>
    public virtual bool TryGetCompletion([NotNullWhen(true)] out Task? completion)
    {
        completion = null;
        return false;
    }

    /// <summary>Hands one item over.</summary>
    /// <returns>False when the outside takes no more.</returns>
    public abstract ValueTask<bool> SendAsync(T item, CancellationToken cancellationToken);

    public virtual void Complete() { }

    public virtual void Fault(Exception error) { }
}

/// <summary>Hands items to a foreign block.</summary>
internal sealed class BlockTarget<T, TBlock>(ITargetBlock<TBlock> block) : ForeignTarget<T>
    where TBlock : T
{
    // The completion of TPL's null target never ends (dotnet/runtime issue 66953), so nobody may wait for it.
    private readonly bool _neverEnds = block.GetType() == DataflowBlock.NullTarget<TBlock>().GetType();

    public override object Key => block;

    public override bool IsSingleUse => !_neverEnds;

    public override bool TryGetCompletion([NotNullWhen(true)] out Task? completion)
    {
        completion = _neverEnds ? null : block.Completion;
        return completion is not null;
    }

    public override ValueTask<bool> SendAsync(T item, CancellationToken cancellationToken) =>
        block.Post((TBlock)item!) ? new(true) : new(block.SendAsync((TBlock)item!, cancellationToken));

    public override void Complete() => block.Complete();

    public override void Fault(Exception error) => block.Fault(error);
}

/// <summary>Hands items to a channel.</summary>
internal sealed class ChannelTarget<T, TChannel>(ChannelWriter<TChannel> writer) : ForeignTarget<T>
    where TChannel : T
{
    public override object Key => writer;

    public override ValueTask<bool> SendAsync(T item, CancellationToken cancellationToken) =>
        writer.TryWrite((TChannel)item!) ? new(true) : SendSlowAsync((TChannel)item!, cancellationToken);

    public override void Complete() => writer.TryComplete();

    public override void Fault(Exception error) => writer.TryComplete(error);

    private async ValueTask<bool> SendSlowAsync(TChannel item, CancellationToken cancellationToken)
    {
        while (await writer.WaitToWriteAsync(cancellationToken).ConfigureAwait(false))
        {
            if (writer.TryWrite(item))
                return true;
        }

        return false;
    }
}

/// <summary>Hands items to a delegate.</summary>
internal sealed class DelegateTarget<T, TArgument>(Func<TArgument, CancellationToken, ValueTask> handler) : ForeignTarget<T>
    where TArgument : T
{
    public override object Key => handler;

    public override bool IsSingleUse => false;

    public override async ValueTask<bool> SendAsync(T item, CancellationToken cancellationToken)
    {
        await handler((TArgument)item!, cancellationToken).ConfigureAwait(false);
        return true;
    }
}
