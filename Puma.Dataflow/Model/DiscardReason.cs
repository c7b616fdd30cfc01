namespace Puma.Dataflow;

/// <summary>Why an accepted item was discarded instead of handled.</summary>
public enum DiscardReason
{
    /// <summary>Not discarded.</summary>
    None,

    /// <summary>Nobody downstream wants the item: all outputs, or the branch that it was routed to, have finished.</summary>
    NoDemand,

    /// <summary>This stage, or one downstream of it, faulted.</summary>
    Faulted,

    /// <summary>The run was cancelled or aborted.</summary>
    Canceled,

    /// <summary>A join could not pair the item, because the other input had ended.</summary>
    NoPartner,

    /// <summary>A full entry or branch dropped the item (<see cref="FullMode"/>).</summary>
    Dropped,

    /// <summary>A broadcast had no branch (<see cref="NoBranches"/>).</summary>
    NoBranch,
}

/// <summary>An item that was discarded, as given to <see cref="PipelineOptions.OnDiscarded"/>.</summary>
/// <param name="Item">The item.</param>
/// <param name="Reason">Why it was discarded.</param>
/// <param name="Stage">The stage that held it or was to receive it.</param>
public readonly record struct DiscardedItem(object? Item, DiscardReason Reason, string Stage);
