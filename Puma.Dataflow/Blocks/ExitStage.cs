using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Blocks;

/// <summary>The stage from which foreign code takes items; it ends when all were taken.</summary>
internal sealed class ExitStage<T>(StageSetup setup) : StageNode(setup)
{
    private readonly Lock _gate = new();
    private BufferBlockLink<T> _link = null!;

    public ExitBlock<T> Block { get; private set; } = null!;

    public override void Prepare()
    {
        _link = (BufferBlockLink<T>)Inputs[0];
        Block = new ExitBlock<T>(this, _link);
    }

    /// <summary>Foreign code took items. Any thread.</summary>
    public void OnTaken(int count)
    {
        lock (_gate)
        {
            for (int i = 0; i < count; i++)
            {
                _link.CountReceived();
                Counters.CountDelivered();
            }
        }

        _link.Release(count);
        _link.Flush();
        Wake();
    }

    protected override async Task RunAsync()
    {
        // An item that a target accepts at once is taken a moment before the buffer block lets go of it: the last one needs a look after that.
        Graph.Own(WakeAtEndAsync(_link.Block.Completion));

        // A buffer block removes an accepted item only after the target has returned, so the last item was taken when its slot is free.
        while (!IsDiscarding && !IsFinishing && (_link.End is null || _link.SlotsHeld > 0))
            await WaitAsync(StageActivity.WaitingForForeignCode).ConfigureAwait(false);
    }

    /// <summary>Waits until what foreign code has taken or reserved has a fate.</summary>
    protected override async ValueTask ReturnAllAsync()
    {
        if (!IsDiscarding && !IsFinishing)
            return;
        _link.Shut(IsDiscarding ? ReasonToDiscard : DiscardReason.NoDemand);
        while (_link.SlotsHeld > 0)
        {
            await WaitAsync(StageActivity.WaitingForForeignCode).ConfigureAwait(false);
            _link.DiscardQueued();
        }
    }

    protected override void OnEnding(EndMarker marker) => Block.TellEnd(marker);
}
