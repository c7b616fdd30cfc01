using Puma.Dataflow.Buffers;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Books the fate of an item and gives its slot back. Called by the stage's own stream.</summary>
internal static class Settlement
{
    /// <summary>Settles an item; waits only for the slot of a dead letter.</summary>
    public static async ValueTask SettleAsync<T>(this StageNode stage, Link<T> input, T item, long number, Fate fate)
    {
        switch (fate.Kind)
        {
            case FateKind.Delivered:
                stage.Counters.CountDelivered();
                break;
            case FateKind.Skipped:
                stage.Counters.CountSkipped();
                Log.ItemSkipped(stage.Graph.Logger, stage.Name, number, ExceptionText.MessageOf(fate.Error!), fate.Error);
                break;
            case FateKind.DeadLettered when await WriteDeadLetterAsync(stage, item, number, fate).ConfigureAwait(false):
                stage.Counters.CountDeadLettered();
                Log.ItemDeadLettered(stage.Graph.Logger, stage.Name, number, ExceptionText.MessageOf(fate.Error!), fate.Error);
                break;
            case FateKind.DeadLettered when !stage.MustGiveUp:
                stage.DiscardInWork(item, DiscardReason.NoDemand);
                break;
            case FateKind.Failed:
                stage.Counters.CountFailed();
                break;
            default:
                stage.DiscardInWork(item, stage.ReasonToDiscard);
                break;
        }

        // The failure first: its slot must not let in an item that is then discarded.
        if (fate.Kind == FateKind.Failed)
            stage.Fail(fate.Error!, number, fate.Attempt);
        input.Release(1);
    }

    /// <returns>False when the stage must give up before the dead letter was accepted.</returns>
    private static async ValueTask<bool> WriteDeadLetterAsync<T>(StageNode stage, T item, long number, Fate fate)
    {
        var target = (Link<DeadLetter>)stage.DeadLetters!;
        DeadLetter letter = stage.Options.ErrorPolicy.MakeDeadLetter(item, fate.Error!, stage.Name) with { ItemNumber = number, Attempts = fate.Attempt };
        bool isWritten = false, hasWaited = false;
        while (!stage.IsDiscarding && !target.IsShut)
        {
            target.AskForSlot();
            isWritten = target.TryWrite(letter);
            if (isWritten)
                break;
            hasWaited = true;
            await stage.WaitForSlotAsync(target).ConfigureAwait(false);
            stage.BeginWork();
        }

        // The wait may have swallowed a signal for something that the stream has looked at before.
        if (hasWaited)
            stage.Wake();
        return isWritten;
    }
}
