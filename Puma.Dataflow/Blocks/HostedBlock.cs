using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Blocks;

/// <summary>
/// Hosts a foreign block. What it makes is taken whenever the worker has nothing better to do, also while the block accepts no item
/// because its own output is full; an item is settled when the block has accepted it.
/// </summary>
internal sealed class HostedBlock<TIn, TOut>(IPropagatorBlock<TIn, TOut> block, HostSetup setup) : HostedCode
{
    private readonly Emitter<TOut> _output = setup.Output<TOut>(0);
    private readonly ItemCodec<TIn> _codec = setup.Codecs.For<TIn>();
    private Task<bool>? _available;
    private bool _isCompleted;

    public static HostedCode Make(Recipe recipe, HostSetup setup) =>
        new HostedBlock<TIn, TOut>(((CodeMaker<IPropagatorBlock<TIn, TOut>>)recipe.Maker)(recipe.UserCode, recipe.Options), setup);

    public override ValueTask StartAsync(StageContext context, CancellationToken cancellationToken)
    {
        _ = setup.WakeAtEndAsync(block.Completion);
        return default;
    }

    public override HeldItem Read(int port, PayloadReader payload)
    {
        var held = new Held(this, _codec.Read(payload));

        // The item is settled before the block has handled it, so its buffers belong to the block.
        payload.Keep();
        return held;
    }

    public override async ValueTask IdleAsync(CancellationToken cancellationToken)
    {
        // What the block made comes before the news of its end.
        while (await TryTakeAsync(cancellationToken).ConfigureAwait(false))
        {
        }

        if (block.Completion.IsFaulted || (block.Completion.IsCanceled && !cancellationToken.IsCancellationRequested))
            await block.Completion.ConfigureAwait(false);
        if (block.Completion.IsCompletedSuccessfully && !_isCompleted)
            setup.RequestFinish();
    }

    public override async ValueTask CompletedAsync(CancellationToken cancellationToken)
    {
        _isCompleted = true;
        block.Complete();
        while (!block.Completion.IsCompleted)
        {
            await IdleAsync(cancellationToken).ConfigureAwait(false);
            if (!block.Completion.IsCompleted)
                await setup.WaitAsync().ConfigureAwait(false);
            cancellationToken.ThrowIfCancellationRequested();
        }

        await IdleAsync(cancellationToken).ConfigureAwait(false);
    }

    public override ValueTask EndAsync(RunState outcome, Exception? cause)
    {
        // A block that has not ended is left without demand; its process ends with it.
        if (!block.Completion.IsCompleted)
            block.Fault(cause ?? new OperationCanceledException("The run was cancelled."));
        return default;
    }

    /// <returns>False when nothing is there.</returns>
    private async ValueTask<bool> TryTakeAsync(CancellationToken cancellationToken)
    {
        if (block is IReceivableSourceBlock<TOut> receivable)
        {
            if (receivable.TryReceive(out TOut? value))
            {
                await _output.EmitAsync(value, cancellationToken).ConfigureAwait(false);
                return true;
            }
        }
        else if (_available is { IsCompletedSuccessfully: true } available && await available.ConfigureAwait(false))
        {
            _available = null;
            await _output.EmitAsync(await block.ReceiveAsync(cancellationToken).ConfigureAwait(false), cancellationToken).ConfigureAwait(false);
            return true;
        }

        if (_available is null or { IsCompleted: true })
        {
            _available = block.OutputAvailableAsync(cancellationToken);
            if (_available.IsCompleted)
                return _available.IsCompletedSuccessfully && await _available.ConfigureAwait(false);
            _ = setup.WakeAtEndAsync(_available);
        }

        return false;
    }

    private async ValueTask SendAsync(TIn item, CancellationToken cancellationToken)
    {
        Task<bool> sending = block.SendAsync(item, cancellationToken);
        if (!sending.IsCompleted)
            _ = setup.WakeAtEndAsync(sending);
        while (!sending.IsCompleted)
        {
            await IdleAsync(cancellationToken).ConfigureAwait(false);
            if (!sending.IsCompleted)
                await setup.WaitAsync().ConfigureAwait(false);
        }

        if (await sending.ConfigureAwait(false))
            return;

        // Declined for good: how it ends says why, which it may not do before its outputs were taken.
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task late = Task.Delay(setup.AbortTimeout, setup.Time, over.Token);
        _ = setup.WakeAtEndAsync(late);
        while (!block.Completion.IsCompleted)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (late.IsCompletedSuccessfully)
                throw new InvalidOperationException($"The foreign block behind '{setup.Stage}' declined an item for good, but its Completion did not end within {setup.AbortTimeout}.");
            await IdleAsync(cancellationToken).ConfigureAwait(false);
            if (!block.Completion.IsCompleted)
                await setup.WaitAsync().ConfigureAwait(false);
        }

        await over.CancelAsync().ConfigureAwait(false);

        // A block that has completed wants no more, which is no failure; of what a foreign block does with its items nobody keeps count.
        await block.Completion.ConfigureAwait(false);
        setup.RequestFinish();
    }

    private sealed class Held(HostedBlock<TIn, TOut> code, TIn item) : HeldItem
    {
        public override ValueTask HandleAsync(CancellationToken cancellationToken) => code.SendAsync(item, cancellationToken);
    }
}
