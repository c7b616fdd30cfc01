using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Blocks;

/// <summary>A foreign block as one opaque stage: it stands between the stage's input link and an entry that writes the output link.</summary>
internal sealed class ForeignStage<TIn, TOut>(StageSetup setup, Func<IPropagatorBlock<TIn, TOut>> getBlock) : ForeignSinkStage<TIn>(setup)
{
    private EntryBlock<TOut>? _entry;
    private IPropagatorBlock<TIn, TOut>? _block;
    private IDisposable? _unlink;

    public override bool KeepsLedger => false;

    public override void Prepare() => _entry = new EntryBlock<TOut>(this, (Link<TOut>)Outputs[0]);

    public override void Wake()
    {
        base.Wake();
        _entry?.ServeWaiters();
    }

    protected override ForeignTarget<TIn> Connect()
    {
        _block = getBlock();
        _unlink = _block.LinkTo(_entry!);
        return new BlockTarget<TIn, TIn>(_block);
    }

    protected override void Drain()
    {
        _unlink?.Dispose();
        _block!.LinkTo(DataflowBlock.NullTarget<TOut>());
    }

    protected override void OnStop() => _entry?.Close();

    protected override async ValueTask ReturnAllAsync()
    {
        await base.ReturnAllAsync().ConfigureAwait(false);
        _unlink?.Dispose();
        _entry!.Close();
        while (!_entry.IsAtRest)
            await WaitAsync(StageActivity.WaitingForForeignCode).ConfigureAwait(false);
    }
}
