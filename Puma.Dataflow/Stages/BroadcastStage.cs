using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Gives every item to every live branch; the slowest paces, unless its full mode says otherwise.</summary>
internal sealed class BroadcastStage<T>(StageSetup setup) : MovingStage(setup)
{
    protected override async Task RunAsync()
    {
        var input = (Link<T>)Inputs[0];
        Link<T>[] branches = Array.ConvertAll(Outputs, static o => (Link<T>)o);
        bool[] isWaiting = new bool[branches.Length];
        for (long number = 1; !MustEnd; number++)
        {
            if (!input.TryRead(out T item))
            {
                if (!await WaitForInputAsync().ConfigureAwait(false))
                    return;
                number--;
                continue;
            }

            input.CountReceived();
            try
            {
                Settle(input, item, await GiveAsync(branches, isWaiting, item).ConfigureAwait(false), DiscardReason.Faulted);
            }
            catch (PipelineFullException full)
            {
                FailAt(input, item, number, full);
                return;
            }
        }
    }

    /// <returns>False when the stage gave up before every live branch had the item.</returns>
    private async ValueTask<bool> GiveAsync(Link<T>[] branches, bool[] isWaiting, T item)
    {
        // First all that have room, so that a full branch does not keep the others from what they can take.
        bool isComplete = true;
        for (int i = 0; i < branches.Length; i++)
        {
            isWaiting[i] = !this.TryOffer(branches[i], item);
            isComplete &= !isWaiting[i];
        }

        while (!isComplete)
        {
            if (IsDiscarding)
                return false;
            isComplete = true;
            Link? full = null;
            for (int i = 0; i < branches.Length; i++)
            {
                if (!isWaiting[i] || branches[i].IsShut)
                    continue;
                branches[i].AskForSlot();
                isWaiting[i] = !this.TryOffer(branches[i], item);
                if (isWaiting[i])
                {
                    isComplete = false;
                    full = branches[i];
                }
            }

            if (isComplete)
                break;
            await WaitAsync(StageActivity.WaitingForOutput, full).ConfigureAwait(false);
            BeginWork();
        }

        // When no branch is left at all, nobody has the item.
        return !IsDiscarding || !Array.TrueForAll(branches, static b => b.IsShut);
    }
}
