using System.Diagnostics;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>An item between the moment when an isolated stage took it and the moment when it is settled. Belongs to the stage's stream.</summary>
internal abstract class HeldInput(ChildInput port) : Held
{
    public ChildInput Port => port;

    public override IReadOnlyList<HeldInput> TakeApart() => [this];

    /// <summary>The attempt that is under way or comes next.</summary>
    public int Attempt { get; set; } = 1;

    /// <summary>How often a child was lost while it handled the item.</summary>
    public int Guilt { get; set; }

    /// <summary>How many attempts at it there were, with those that ended with a child.</summary>
    public int Attempts => Attempt + Math.Max(0, Guilt - 1);

    /// <summary>How many of its outputs were passed on, by the child that has it now.</summary>
    public int Passed { get; private set; }

    // By the children that were lost.
    private int _passedBefore;

    /// <summary>Whether an output of it was given up.</summary>
    public bool HasLostOutput { get; set; }

    /// <summary>Why one of its outputs could not be decoded here, with which the item has failed, whatever its child made of it.</summary>
    public ItemCodecException? OutputError { get; set; }

    public bool IsSettled { get; private set; }

    public abstract object? Untyped { get; }

    /// <summary>Notes that an output was passed on.</summary>
    /// <returns>Whether a lost child's output stood at its place before.</returns>
    public bool NotePassed() => ++Passed <= _passedBefore;

    /// <summary>Begins again with another child.</summary>
    public void Rewind()
    {
        _passedBefore = Math.Max(_passedBefore, Passed);
        Passed = 0;
        OutputError = null;
    }

    /// <exception cref="ItemCodecException">The item cannot be carried.</exception>
    public abstract void Encode(PayloadWriter writer);

    public abstract int KeyHash();

    /// <summary>Books the fate and gives the slot back.</summary>
    public ValueTask SettleAsync(Fate fate)
    {
        Debug.Assert(!IsSettled, "An item has one fate.");
        IsSettled = true;
        return BookAsync(fate);
    }

    protected abstract ValueTask BookAsync(Fate fate);

    /// <summary>Is ready for another item; nobody knows this one any more.</summary>
    public virtual void Recycle()
    {
        (Number, Attempt, Guilt, Passed, _passedBefore) = (0, 1, 0, 0, 0);
        (HasLostOutput, OutputError, Slot, Fate, IsSettled) = (false, null, null, null, false);
    }
}
