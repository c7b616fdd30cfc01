using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Pairs the items of two inputs in order; what finds no partner is discarded.</summary>
internal sealed class JoinStage<T1, T2>(StageSetup setup) : MovingStage(setup)
{
    // Each side holds at most one item that waits for its partner; it keeps its slot.
    private (bool Has, T1 Item) _first;
    private (bool Has, T2 Item) _second;

    private Link<T1> First => (Link<T1>)Inputs[0];

    private Link<T2> Second => (Link<T2>)Inputs[1];

    protected override async Task RunAsync()
    {
        var output = (Link<(T1, T2)>)Outputs[0];
        while (!MustEnd)
        {
            Take(First, ref _first);
            Take(Second, ref _second);
            if (Options.FanIn == FanIn.Any && (HasCompleted(First, _first.Has) || HasCompleted(Second, _second.Has)))
                return;
            if (_first.Has && _second.Has)
            {
                bool isDelivered = await WriteAsync(output, (_first.Item, _second.Item)).ConfigureAwait(false);
                Settle(First, ref _first, isDelivered, DiscardReason.NoDemand);
                Settle(Second, ref _second, isDelivered, DiscardReason.NoDemand);
            }
            else if (_first.Has && Second.End is not null)
            {
                Settle(First, ref _first, isDelivered: false, DiscardReason.NoPartner);
            }
            else if (_second.Has && First.End is not null)
            {
                Settle(Second, ref _second, isDelivered: false, DiscardReason.NoPartner);
            }
            else if (!await WaitForInputAsync().ConfigureAwait(false))
            {
                return;
            }
        }
    }

    protected override ValueTask ReturnAllAsync()
    {
        Settle(First, ref _first, isDelivered: false, DiscardReason.NoDemand);
        Settle(Second, ref _second, isDelivered: false, DiscardReason.NoDemand);
        return default;
    }

    private static bool HasCompleted(Link input, bool hasItem) => !hasItem && input.End is { Kind: EndKind.Completed };

    private static void Take<T>(Link<T> input, ref (bool Has, T Item) side)
    {
        if (side.Has || !input.TryRead(out T item))
            return;
        input.CountReceived();
        side = (true, item);
    }

    private void Settle<T>(Link<T> input, ref (bool Has, T Item) side, bool isDelivered, DiscardReason otherwise)
    {
        if (!side.Has)
            return;
        Settle(input, side.Item, isDelivered, otherwise);
        side = default;
    }
}
