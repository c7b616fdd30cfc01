using System.Diagnostics.CodeAnalysis;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Takes items from the inputs of an isolated stage and sends them to its children.</summary>
/// <remarks>Belongs to the stage's stream.</remarks>
internal sealed class ChildFeeder(ChildStage stage, ChildPlan plan, ChildRoster roster, ItemOrder order, ChildInput[] inputs)
{
    private readonly PayloadWriter _writer = new();
    private readonly FramePacker _packer = new();
    private readonly List<HeldInput> _singles = [];

    // The item whose payload the writer holds already.
    private HeldInput? _written;
    private int _nextInput;

    /// <summary>How many items one child is given at a time: enough to hide the way there and back, few enough that another child is not idle meanwhile.</summary>
    private int Prefetch => plan.OneAtATime ? 1 : roster.Slots.Length == 1 ? int.MaxValue : Math.Max(2, stage.Options.BoundedCapacity / (2 * roster.Slots.Length));

    public async ValueTask HandOutAsync()
    {
        if (plan.HasBody || stage.IsFinishingEarly)
            return;

        while (HandOutPacks())
            await SendAsync(roster.Slots[0]).ConfigureAwait(false);

        // After a failure nothing new is begun, and a stage whose inputs have ended as far as needed takes nothing more.
        while (!order.HasFailure && !stage.HaveEnoughInputsEnded && ChooseSlot() is { } free && TryTake(out HeldInput? item))
        {
            ChildSlot slot = free;
            try
            {
                if (plan.IsPartitioned)
                    slot = roster.Slots[(int)((uint)item.KeyHash() % (uint)roster.Slots.Length)];
            }
            catch (Exception error)
            {
                await GiveUpAsync(item, error).ConfigureAwait(false);
                continue;
            }

            item.Slot = slot;
            slot.Waiting.Enqueue(item);
            if (!plan.IsPartitioned)
                await SendAsync(slot).ConfigureAwait(false);
        }

        foreach (ChildSlot slot in roster.Slots)
        {
            await SendAsync(slot).ConfigureAwait(false);
            TellEndedInputs(slot);
        }
    }

    /// <summary>Tells the children that all input has come: one after the other, so that what they still emit comes in their order.</summary>
    /// <returns>True when the last one has ended.</returns>
    public bool Complete()
    {
        foreach (ChildSlot slot in roster.Slots)
        {
            if (slot.IsOver)
                continue;
            if (!slot.IsCompleteSent && slot.Child is { } child)
            {
                slot.IsCompleteSent = true;
                TellEndedInputs(slot);
                child.Data.Write(FrameType.Complete);
            }

            return false;
        }

        return true;
    }

    /// <summary>A new child was told of no ended input.</summary>
    public void ForgetEndedInputs()
    {
        foreach (ChildInput input in inputs)
            input.IsEndTold = false;
    }

    /// <summary>Sends short items that are there together, if there is one child, which takes them so.</summary>
    /// <returns>Whether it has met items that are to be sent one by one, which wait for that now.</returns>
    private bool HandOutPacks()
    {
        ChildSlot slot = roster.Slots[0];
        _singles.Clear();
        if (!plan.MayPack || roster.Slots.Length > 1)
            return false;
        while (slot is { TakesItems: true, Waiting.Count: 0, Child: { TakesPacks: true } child } && !order.HasFailure && !stage.HaveEnoughInputsEnded)
        {
            if (inputs[0].TakePack(_packer, _writer, stage.MaxPayload, _singles) is { } pack)
            {
                pack.Slot = slot;
                order.Add(pack);
                slot.AddSent(pack);
                child.Data.Write(FrameType.PackedItems, pack.Number, _packer.Payload, attempt: 1);
                _packer.Clear();
            }
            else if (_singles.Count == 0)
            {
                break;
            }

            if (_writer.Length > 0)
                _written = _singles[0];
            foreach (HeldInput single in _singles)
            {
                single.Slot = slot;
                order.Add(single);
                slot.Waiting.Enqueue(single);
            }
        }

        return _singles.Count > 0;
    }

    /// <summary>The child that holds the fewest items and may be given more. With a partition only whether there is any.</summary>
    private ChildSlot? ChooseSlot()
    {
        ChildSlot? best = null;
        foreach (ChildSlot slot in roster.Slots)
        {
            bool mayTake = plan.IsPartitioned || (slot.TakesItems && slot.Load < Prefetch);
            if (mayTake && (best is null || slot.Load < best.Load))
                best = slot;
        }

        return best;
    }

    private bool TryTake([NotNullWhen(true)] out HeldInput? item)
    {
        for (int i = 0; i < inputs.Length; i++)
        {
            if (!inputs[(_nextInput + i) % inputs.Length].TryTake(out item))
                continue;
            _nextInput = (_nextInput + i + 1) % inputs.Length;
            order.Add(item);
            return true;
        }

        item = null;
        return false;
    }

    /// <summary>Sends what waits for a child; after a failure only what comes before it.</summary>
    private ValueTask SendAsync(ChildSlot slot) =>
        TrySendWaiting(slot, out HeldInput? failed, out Exception? error) ? default : GiveUpAndGoOnAsync(slot, failed, error);

    private async ValueTask GiveUpAndGoOnAsync(ChildSlot slot, HeldInput? failed, Exception? error)
    {
        do
            await GiveUpAsync(failed!, error!).ConfigureAwait(false);
        while (!stage.IsDiscarding && !TrySendWaiting(slot, out failed, out error));
    }

    /// <returns>False when an item cannot be carried.</returns>
    private bool TrySendWaiting(ChildSlot slot, [NotNullWhen(false)] out HeldInput? failed, [NotNullWhen(false)] out Exception? error)
    {
        (failed, error) = (null, null);
        while (slot.TakesItems && slot.Waiting.TryPeek(out HeldInput? item) && item.Number < order.LowestFailure)
        {
            slot.Waiting.Dequeue();
            if (TrySend(slot, slot.Child!, item, out error))
                continue;
            failed = item;
            return false;
        }

        return true;
    }

    private bool TrySend(ChildSlot slot, Child child, HeldInput item, [NotNullWhen(false)] out Exception? error)
    {
        error = null;
        bool isWritten = item == _written;
        _written = null;
        try
        {
            if (!isWritten)
            {
                _writer.Reset();
                item.Encode(_writer);
            }

            if (_writer.Length > stage.MaxPayload)
                throw new ItemCodecException(item.Untyped?.GetType() ?? typeof(object), null, $"its encoded form has {_writer.Length} bytes; at most {stage.MaxPayload} can travel (MaxItemSize)");
        }
        catch (Exception failure)
        {
            _writer.Reset();
            error = failure;
            return false;
        }

        // Its blocks are the item's, which is held until it is settled.
        child.Data.Write(FrameType.Item, item.Number, _writer, (ushort)Array.IndexOf(inputs, item.Port), item.Attempt, keepsBlocks: true);
        _writer.Reset();
        slot.AddSent(item);
        plan.OnSent?.Invoke(item, child);
        return true;
    }

    /// <summary>An item that no child can be given is an error of the item, never retried.</summary>
    private ValueTask GiveUpAsync(HeldInput item, Exception error) =>
        order.GiveUpAsync(item, new Fate(AttemptRunner.FateOf(stage.Options.ErrorPolicy.Verdict), error, item.Attempt));

    private void TellEndedInputs(ChildSlot slot)
    {
        if (!plan.HasPorts || slot.Child is not { } child || slot.Waiting.Count > 0)
            return;
        for (int port = 0; port < inputs.Length; port++)
        {
            if (inputs[port].IsEndTold || !inputs[port].HasEnded || stage.MustGiveUp)
                continue;
            inputs[port].IsEndTold = true;
            child.Data.Write(FrameType.InputEnded, port: (ushort)port);
        }
    }
}
