using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Blocks;

/// <summary>The stage from which foreign code takes items; it ends when all were taken.</summary>
internal sealed class ExitStage<T>(StageSetup setup) : StageNode(setup)
{
    // Several may take at once.
    private readonly Lock _counting = new();
    private BufferBlockLink<T> _link = null!;

    public ExitBlock<T> Block { get; private set; } = null!;

    public override void Prepare()
    {
        _link = (BufferBlockLink<T>)Inputs[0];
        Block = new ExitBlock<T>(this, _link);
    }

    /// <summary>Foreign code took items. Any thread.</summary>
    public void OnTaken(int count, bool hasFailed = false)
    {
        lock (_counting)
        {
            for (int i = 0; i < count; i++)
            {
                _link.CountReceived();
                if (hasFailed)
                    Counters.CountFailed();
                else
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
        while (true)
        {
            // Again and again: what a foreign target has reserved and releases is queued once more.
            if (IsAbandoned)
                DropQueued();
            else
                _link.Shut(MustGiveUp ? ReasonToDiscard : DiscardReason.NoDemand);
            if (_link.SlotsHeld == 0)
                return;
            await WaitAsync(StageActivity.WaitingForForeignCode).ConfigureAwait(false);
        }
    }

    protected override void OnEnding(EndMarker marker) => Block.TellEnd(marker);

    /// <summary>Lets go of what came back after it was counted as abandoned.</summary>
    private void DropQueued()
    {
        while (_link.TryTakeBack(out T item))
        {
            NoteDiscarded(item, ReasonToDiscard);
            _link.Release(1);
        }
    }
}
