using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>
/// The order in which an isolated stage settles its items, and its lowest item that failed for good. Without an order an item is settled as
/// soon as its fate is decided.
/// </summary>
/// <remarks>Belongs to the stage's stream, but for <see cref="NoteFailure"/> and <see cref="LowestFailure"/>, which are for any thread.</remarks>
internal sealed class ItemOrder(StageNode stage, bool isOrdered)
{
    private Queue<Held> _held = [];
    private readonly LowestFailure _lowestFailure = new();
    private long _last;

    public bool IsOrdered => isOrdered;

    /// <summary>The items that are not settled yet, oldest first; none without an order. There is no pack among them: see <see cref="Unpack"/>.</summary>
    public IEnumerable<HeldInput> Items => _held.Cast<HeldInput>().Where(static i => !i.IsSettled);

    /// <summary>The oldest that has not been settled, or the pack that begins with it.</summary>
    public Held? Head => _held.TryPeek(out Held? head) ? head : null;

    /// <summary>The lowest item that failed for good; the highest number when none has.</summary>
    public long LowestFailure => _lowestFailure.Number;

    public bool HasFailure => _lowestFailure.IsSet;

    /// <summary>With <see cref="FaultMode.Abort"/> a failure does not wait for the items before it.</summary>
    public bool SkipsToFailure => isOrdered && HasFailure && stage.Graph.Options.FaultMode == FaultMode.Abort;

    public void Add(HeldInput item)
    {
        item.Number = ++_last;
        if (isOrdered)
            _held.Enqueue(item);
    }

    /// <inheritdoc cref="Add(HeldInput)"/>
    public void Add(HeldPack pack)
    {
        Debug.Assert(isOrdered, "Packs are settled in their order.");
        pack.Number = _last + 1;
        _last += pack.Count;
        _held.Enqueue(pack);
    }

    /// <summary>Takes the head away, a pack all of whose items are settled.</summary>
    public void RemovePack()
    {
        Held head = _held.Dequeue();
        Debug.Assert(head is HeldPack { Count: 0 }, "The pack was settled.");
    }

    /// <summary>Takes all packs apart.</summary>
    public void Unpack() => _held = new Queue<Held>(_held.SelectMany(static h => h.TakeApart()));

    public void NoteFailure(long number) => _lowestFailure.Note(number);

    /// <summary>Decides the fate of an item, and settles it if it need not wait for its turn.</summary>
    public ValueTask DecideAsync(HeldInput item, Fate fate)
    {
        item.Fate = fate;
        if (fate.Kind == FateKind.Failed)
            NoteFailure(item.Number);
        return isOrdered && !(fate.Kind == FateKind.Failed && SkipsToFailure) ? default : SettleAsync(item, fate);
    }

    /// <summary>Decides the fate of an item that its child has no part in any more. The stream looks at the order once more.</summary>
    public ValueTask GiveUpAsync(HeldInput item, Fate fate)
    {
        stage.Wake();
        return DecideAsync(item, fate);
    }

    /// <summary>Settles the oldest items as far as they are decided.</summary>
    /// <returns>The oldest that is not decided.</returns>
    public ValueTask<Held?> SettleDecidedAsync()
    {
        while (TryTakeDecided(out HeldInput? head))
        {
            if (head.IsSettled)
                continue;
            ValueTask settling = SettleAsync(head, head.Fate!.Value);
            if (!settling.IsCompletedSuccessfully)
                return SettleMoreAsync(settling);
        }

        return new(Head);
    }

    private static ValueTask SettleAsync(HeldInput item, Fate fate)
    {
        ValueTask settling = item.SettleAsync(fate);
        if (fate.Kind == FateKind.Delivered && settling.IsCompletedSuccessfully)
            item.Recycle();
        return settling;
    }

    private async ValueTask<Held?> SettleMoreAsync(ValueTask settling)
    {
        await settling.ConfigureAwait(false);
        while (TryTakeDecided(out HeldInput? head))
        {
            if (!head.IsSettled)
                await SettleAsync(head, head.Fate!.Value).ConfigureAwait(false);
        }

        return Head;
    }

    private bool TryTakeDecided([NotNullWhen(true)] out HeldInput? head)
    {
        head = null;
        if (!_held.TryPeek(out Held? held) || held.Fate is null || stage.IsDiscarding)
            return false;
        head = (HeldInput)_held.Dequeue();
        return true;
    }
}
