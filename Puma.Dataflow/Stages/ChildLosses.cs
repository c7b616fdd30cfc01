using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Does what the loss policy of an isolated stage says when a child is lost.</summary>
/// <remarks>Belongs to the stage's stream, but for the first start of each slot.</remarks>
internal sealed class ChildLosses(ChildStage stage, ChildPlan plan, ChildRoster roster, ItemOrder order, ChildReader reader)
{
    private long _restarts;

    public long Restarts => Volatile.Read(ref _restarts);

    private LossPolicy? Policy => stage.Isolation?.OnLoss;

    /// <summary>Starts the first child of a slot, which may be lost as well as any other.</summary>
    public async Task<Child> StartFirstAsync(ChildSlot slot)
    {
        for (TimeSpan delay = TimeSpan.Zero; ;)
        {
            try
            {
                return await roster.StartAsync(slot.Index, delay).ConfigureAwait(false);
            }
            catch (ChildStartException error) when (Policy is RestartPolicy policy && slot.HasBudget(policy, ChildStage.Clock))
            {
                Log.ChildLost(stage.Graph.Logger, stage.Name, error.Exit.ProcessId, error.Exit.Description, 0);
                delay = PlanRestart(slot, policy);
            }
        }
    }

    /// <summary>Looks which children were lost, and which have started in their place.</summary>
    public async ValueTask SuperviseAsync()
    {
        // First, so that a child that is lost finds the spare ones that are there by now.
        await roster.Spares.TendAsync().ConfigureAwait(false);
        foreach (ChildSlot slot in roster.Slots)
        {
            if (slot.Starting is { IsCompleted: true } starting)
                await TakeOverAsync(slot, starting).ConfigureAwait(false);
            if (slot.Child is { Exited.IsCompleted: true } lost)
            {
                slot.KeepUnread(lost);
                if (lost.HasEnded && !stage.IsDiscarding)
                    await OnLostAsync(slot, lost, await lost.Exited.ConfigureAwait(false)).ConfigureAwait(false);
            }
        }

        stage.ShowRestarting(Array.Exists(roster.Slots, static s => s.Starting is not null));
    }

    private async ValueTask TakeOverAsync(ChildSlot slot, Task<Child> starting)
    {
        slot.Starting = null;
        try
        {
            roster.Adopt(slot, await starting.ConfigureAwait(false));
            stage.TellNewChild(slot.Child!);
        }
        catch (OperationCanceledException) when (stage.IsDiscarding)
        {
            // It is not wanted any more.
        }
        catch (ChildStartException error)
        {
            Log.ChildLost(stage.Graph.Logger, stage.Name, error.Exit.ProcessId, error.Exit.Description, 0);
            await RestartAsync(slot, error.Exit, [], guilty: null).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            stage.Fail(error);
        }
    }

    private async ValueTask OnLostAsync(ChildSlot slot, Child child, ChildExit exit)
    {
        if (child.Violation is { } violation)
            exit = exit with { Description = $"{exit.Description} {violation.Message}" };
        await child.LastWordsAsync().ConfigureAwait(false);
        stage.Unpack();
        HeldInput[] unanswered = slot.TakeBack(plan.IsOneToOne, reader.IsTriedAgain);
        Log.ChildLost(stage.Graph.Logger, stage.Name, exit.ProcessId, exit.Description, unanswered.Length);
        roster.Retire(child);
        if (slot.HasSaidItsEnd)
            return;
        HeldInput? guilty = child.OverdueItem is { } overdue
            ? Array.Find(unanswered, i => i.Number == overdue)
            : Array.Find(unanswered, i => i.Number == exit.ItemNumber) ?? unanswered.FirstOrDefault();
        if (guilty is not null)
            guilty.Guilt++;
        await RestartAsync(slot, exit, unanswered, guilty).ConfigureAwait(false);
    }

    private async ValueTask RestartAsync(ChildSlot slot, ChildExit exit, HeldInput[] unanswered, HeldInput? guilty)
    {
        if (Policy is not RestartPolicy policy || !slot.HasBudget(policy, ChildStage.Clock))
        {
            await FailAsync(slot, new ChildProcessLostException(stage.Name, slot.NoteBudget(exit, Policy), unanswered.Length), unanswered, guilty).ConfigureAwait(false);
            return;
        }

        // What a stage that ends early still holds is given up with the rest.
        if (stage.IsFinishingEarly)
            return;

        if (guilty is not null && guilty.Guilt >= policy.GuiltLimit)
        {
            if (stage.Options.ErrorPolicy.DeadLetterTarget is null)
            {
                exit = exit with { Description = $"{exit.Description} Item {guilty.Number} was {(exit.ItemNumber == guilty.Number ? "in work" : "the oldest without an answer")}; it is held guilty of {guilty.Guilt} losses now, and the stage has no dead-letter target for it." };
                await FailAsync(slot, new ChildProcessLostException(stage.Name, exit, unanswered.Length), unanswered, guilty).ConfigureAwait(false);
                return;
            }

            await GiveUpAsync(slot, guilty, FateKind.DeadLettered, new ChildProcessLostException(stage.Name, exit, unanswered.Length)).ConfigureAwait(false);
        }

        // The child had told that this one failed; what with is lost, but not that it did.
        if (Array.Find(unanswered, i => i.Number == order.LowestFailure && i.Fate is null) is { } failed)
            await GiveUpAsync(slot, failed, FateKind.Failed, new ChildProcessLostException(stage.Name, exit, unanswered.Length)).ConfigureAwait(false);

        foreach (HeldInput item in unanswered)
            item.Rewind();
        slot.Starting = roster.StartAsync(slot.Index, PlanRestart(slot, policy));
        stage.Graph.Own(stage.WakeAfterAsync(slot.Starting));
    }

    /// <returns>How long to wait before it. One stream for each slot.</returns>
    private TimeSpan PlanRestart(ChildSlot slot, RestartPolicy policy)
    {
        slot.Restarts.Enqueue(ChildStage.Clock.GetTimestamp());
        Interlocked.Increment(ref _restarts);
        TimeSpan delay = policy.RestartBackoff.DelayAfter(++slot.LossesInARow);
        Log.ChildRestarting(stage.Graph.Logger, stage.Name, slot.Waiting.Count, delay);
        return delay;
    }

    private async ValueTask FailAsync(ChildSlot slot, ChildProcessLostException error, HeldInput[] unanswered, HeldInput? guilty)
    {
        if (guilty is null)
        {
            stage.Fail(error);
            return;
        }

        // Nobody will ever know what became of the items before it, so the failure does not wait for them.
        foreach (HeldInput item in unanswered.Where(i => i.Number < guilty.Number))
            await GiveUpAsync(slot, item, FateKind.Discarded, error: null).ConfigureAwait(false);
        await GiveUpAsync(slot, guilty, FateKind.Failed, error).ConfigureAwait(false);
    }

    private ValueTask GiveUpAsync(ChildSlot slot, HeldInput item, FateKind kind, Exception? error)
    {
        slot.Withdraw(item);
        return order.GiveUpAsync(item, new Fate(kind, error, item.Attempts));
    }
}
