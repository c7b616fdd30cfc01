using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Gives every item to every live branch; the slowest paces, unless its full mode says otherwise.</summary>
internal sealed class BroadcastStage<T>(StageSetup setup) : BranchableStage(setup)
{
    // The stream's: the branches that have not got the item in hand yet.
    private readonly List<Link<T>> _owed = [];

    // The stream's: the branches, as long as they are those of the outputs.
    private Link[] _outputs = [];
    private Link<T>[] _branches = [];
    private NoBranches _withoutBranch;
    private long _number;

    public override void Prepare()
    {
        base.Prepare();
        _withoutBranch = Options.NoBranches ?? (Outputs.Length == 0 ? NoBranches.Wait : NoBranches.End);
    }

    protected override async Task RunAsync()
    {
        var input = (Link<T>)Inputs[0];
        while (!MustEnd)
        {
            TakeRequests();
            if (!HasBranch && !ReadsWithoutBranch())
            {
                if (MustEnd || !await WaitForBranchAsync(input).ConfigureAwait(false))
                    return;
                continue;
            }

            T item = default!;
            try
            {
                Burst burst = GiveBurst(input, ref item, out bool isGiven);
                if (burst == Burst.Owed)
                    Settle(input, item, await GiveOwedAsync(item, isGiven).ConfigureAwait(false), DiscardReason.NoBranch);
                if (burst != Burst.Over)
                    continue;
            }
            catch (PipelineFullException full)
            {
                FailAt(input, item, _number, full);
                return;
            }

            if (!await WaitForInputAsync().ConfigureAwait(false))
                return;
        }
    }

    /// <summary>How a burst has ended: all items are given, or the stage was told something, or an item is not given to all yet.</summary>
    private enum Burst
    {
        Over,
        Told,
        Owed,
    }

    /// <summary>Gives what is there, as long as the branches have room.</summary>
    /// <param name="input">Where it comes from.</param>
    /// <param name="item">The last item.</param>
    /// <param name="isGiven">Whether a branch has it.</param>
    private Burst GiveBurst(Link<T> input, ref T item, out bool isGiven)
    {
        isGiven = false;
        if (_outputs != Outputs)
        {
            _outputs = Outputs;
            _branches = [.. _outputs.Cast<Link<T>>()];
        }

        Turn? turn = Turn.Here;
        while (input.TryRead(out item))
        {
            _number++;
            input.CountReceived();

            // First all that have room, so that a full branch does not keep the others from what they can take.
            isGiven = false;
            _owed.Clear();
            foreach (Link<T> branch in _branches)
            {
                if (branch.TryWrite(item, turn) || this.TryOffer(branch, item))
                    isGiven = true;
                else if (!branch.IsShut)
                    _owed.Add(branch);
            }

            if (_owed.Count > 0 || !isGiven)
                return Burst.Owed;
            Settle(input, item, isDelivered: true, DiscardReason.NoBranch);
            if (Has(Attention.Control | Attention.Finish | Attention.Discard))
                return Burst.Told;
        }

        return Burst.Over;
    }

    protected override void OnRemoved(Link link) => _owed.Remove((Link<T>)link);

    /// <summary>Whether items are read although there is no branch to give them to; ends the stage if that is what there is to do.</summary>
    private bool ReadsWithoutBranch()
    {
        if (_withoutBranch == NoBranches.End)
            RaiseDiscard(DiscardReason.NoDemand);

        // What waits for a branch waits in vain when none can join any more.
        return !MustEnd && (_withoutBranch == NoBranches.Discard || IsStopping);
    }

    private async ValueTask<bool> WaitForBranchAsync(Link<T> input)
    {
        if (HaveInputsEnded())
            return false;
        await WaitAsync(input.SlotsHeld > 0 ? StageActivity.WaitingForOutput : StageActivity.WaitingForInput).ConfigureAwait(false);
        BeginWork();
        return true;
    }

    /// <returns>False when no branch has the item, or the stage gave up before every live branch had it.</returns>
    private async ValueTask<bool> GiveOwedAsync(T item, bool isGiven)
    {
        while (_owed.Count > 0 || !isGiven)
        {
            if (IsDiscarding)
                return false;
            TakeRequests();
            Link? full = OfferOwed(item, ref isGiven);
            if (full is null)
            {
                if (isGiven)
                    break;

                // Nobody has it: whoever has joined meanwhile gets it, or the next one who will.
                _owed.AddRange(Outputs.Where(static o => !o.IsShut).Cast<Link<T>>());
                if (_owed.Count > 0)
                    continue;
                if (ReadsWithoutBranch() || MustEnd)
                    return false;
            }

            if (full is null)
                await WaitAsync(StageActivity.WaitingForOutput).ConfigureAwait(false);
            else
                await WaitForSlotAsync(full).ConfigureAwait(false);
            BeginWork();
        }

        return true;
    }

    /// <summary>Offers the item once more to those who have not got it.</summary>
    /// <returns>One that has no slot; null when nobody is owed the item any more.</returns>
    private Link? OfferOwed(T item, ref bool isGiven)
    {
        Link? full = null;
        for (int i = _owed.Count - 1; i >= 0; i--)
        {
            Link<T> branch = _owed[i];
            branch.AskForSlot();
            bool isOffered = this.TryOffer(branch, item);
            isGiven |= isOffered;
            if (isOffered || branch.IsShut)
                _owed.RemoveAt(i);
            else
                full = branch;
        }

        return full;
    }
}
