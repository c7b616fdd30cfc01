namespace Puma.Dataflow.Lifecycle;

/// <summary>What became of an item when its handling ended.</summary>
internal enum FateKind
{
    Delivered,
    Skipped,
    DeadLettered,
    Failed,
    Discarded,
}

/// <summary>The verdict on one item.</summary>
/// <param name="Kind">What becomes of it.</param>
/// <param name="Error">What its last attempt threw.</param>
/// <param name="Attempt">The last attempt, counted from 1.</param>
internal readonly record struct Fate(FateKind Kind, Exception? Error = null, int Attempt = 1)
{
    /// <summary>Delivered at the first attempt, as most items are.</summary>
    public static Fate Usual => new(FateKind.Delivered);

    /// <summary>Whether it is <see cref="Usual"/>.</summary>
    public bool IsUsual => Kind == FateKind.Delivered && Error is null && Attempt == 1;
}
