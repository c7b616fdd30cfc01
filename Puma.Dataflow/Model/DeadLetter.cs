namespace Puma.Dataflow;

/// <summary>An item that its stage gave up, with what is known about it.</summary>
/// <param name="Untyped">The item.</param>
/// <param name="Error">The exception of the last attempt.</param>
/// <param name="Stage">The stage that gave it up.</param>
public record DeadLetter(object? Untyped, Exception Error, string Stage)
{
    /// <summary>The kind of the stages that lead to dead-letter targets, and what they are called.</summary>
    internal const string StageKind = "dead-letters";

    /// <summary>The number of the item at its stage, counted from 1.</summary>
    public long ItemNumber { get; init; }

    /// <summary>How many attempts were made.</summary>
    public int Attempts { get; init; } = 1;
}

/// <summary>An item of a known type that its stage gave up.</summary>
/// <typeparam name="T">The item type of the stage.</typeparam>
/// <param name="Item">The item.</param>
/// <param name="Error">The exception of the last attempt.</param>
/// <param name="Stage">The stage that gave it up.</param>
public sealed record DeadLetter<T>(T Item, Exception Error, string Stage) : DeadLetter(Item, Error, Stage);
