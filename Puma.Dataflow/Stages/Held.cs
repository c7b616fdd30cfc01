using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>What an isolated stage holds: an item, or short ones together. Belongs to the stage's stream.</summary>
internal abstract class Held
{
    /// <summary>The number of the item, or of the first one.</summary>
    public long Number { get; set; }

    /// <summary>Which child it is for.</summary>
    public ChildSlot? Slot { get; set; }

    /// <summary>How it ends, once that is decided. In an ordered stage it is settled later, when its turn comes.</summary>
    public Fate? Fate { get; set; }

    /// <summary>The items, each by itself: the same ones each time.</summary>
    public abstract IReadOnlyList<HeldInput> TakeApart();
}

/// <summary>Short items that were sent to a child together. They are settled from the first one on, as delivered; for any other fate they are taken apart, and it is no more than its items.</summary>
internal abstract class HeldPack : Held
{
    /// <summary>How many are not settled yet.</summary>
    public abstract int Count { get; }

    /// <summary>Settles the first items.</summary>
    /// <returns>Whether these were the last ones; then nobody may know it any more.</returns>
    public abstract bool SettleDelivered(int count);
}
