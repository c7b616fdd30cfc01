using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>A stage that moves items between links and runs no user code for long.</summary>
internal abstract class MovingStage(StageSetup setup) : StageNode(setup)
{
    /// <summary>Whether the stream must end now.</summary>
    protected bool MustEnd => IsDiscarding || IsFinishing;

    /// <summary>Writes a value; waits for a slot unless the link's full mode says otherwise.</summary>
    /// <returns>False when the stage gives up, or the reader wants no more.</returns>
    protected async ValueTask<bool> WriteAsync<T>(Link<T> link, T value)
    {
        while (!IsDiscarding && !link.IsShut)
        {
            if (this.TryOffer(link, value))
                return true;
            link.AskForSlot();
            if (this.TryOffer(link, value))
                return true;
            await WaitForSlotAsync(link).ConfigureAwait(false);
            BeginWork();
        }

        return false;
    }

    /// <summary>Waits for more input, or returns false when all input has ended.</summary>
    protected async ValueTask<bool> WaitForInputAsync()
    {
        if (HaveInputsEnded())
            return false;
        await WaitAsync(StageActivity.WaitingForInput).ConfigureAwait(false);
        BeginWork();
        return true;
    }

    /// <summary>Fails at an item. The failure first: the item's slot must not let in another that is then discarded.</summary>
    protected void FailAt<T>(Link<T> input, T item, long number, Exception error)
    {
        Fail(error, number, attempt: 1);
        Settle(input, item, isDelivered: false, DiscardReason.Faulted);
    }

    /// <summary>Settles an item that its next stage accepted, or that has to be given up.</summary>
    protected void Settle<T>(Link<T> input, T item, bool isDelivered, DiscardReason otherwise)
    {
        if (isDelivered)
            Counters.CountDelivered();
        else
            DiscardInWork(item, MustGiveUp ? ReasonToDiscard : otherwise);
        input.Release(1);
    }
}
