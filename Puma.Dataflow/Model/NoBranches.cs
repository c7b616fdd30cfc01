namespace Puma.Dataflow;

/// <summary>What a broadcast does with its items while it has no branch.</summary>
public enum NoBranches
{
    /// <summary>It ends for lack of demand (<see cref="EndReason.NoDemand"/>), and so do the stages before it. The default of a broadcast that was written with branches; <c>Build()</c> refuses it for one without.</summary>
    End,

    /// <summary>The items wait for the next branch. Nothing is lost, and the stages before it have to wait once its input is full. The default of a broadcast that was written without branches.</summary>
    /// <remarks>When no branch can come any more, because the run takes no more input, is faulting or is cancelled, the items are discarded (<see cref="DiscardReason.NoBranch"/>).</remarks>
    Wait,

    /// <summary>The items are discarded and counted (<see cref="DiscardReason.NoBranch"/>).</summary>
    Discard,
}
