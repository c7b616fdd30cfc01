namespace Puma.Dataflow;

/// <summary>The state of a run.</summary>
public enum RunState
{
    /// <summary>Items flow.</summary>
    Running,

    /// <summary>No more input; what was accepted is processed.</summary>
    Draining,

    /// <summary>Cancelled; stages are ending.</summary>
    Canceling,

    /// <summary>Faulted; stages are ending.</summary>
    Faulting,

    /// <summary>Ended: everything accepted was processed.</summary>
    Completed,

    /// <summary>Ended by a cancellation.</summary>
    Canceled,

    /// <summary>Ended by a fault.</summary>
    Faulted,
}

/// <summary>The state of a stage. A stage that starts is always Starting, then Running; an ended stage keeps its state.</summary>
public enum StageState
{
    /// <summary>The instances are being made and started.</summary>
    Starting,

    /// <summary>The stage handles items.</summary>
    Running,

    /// <summary>The run takes no more input, after a <see cref="PipelineRun.Complete"/> or a fault elsewhere; the stage handles what still reaches it.</summary>
    Draining,

    /// <summary>At least one child of the stage was lost and another is being started in its place; the others handle items. Afterwards the stage runs or drains again.</summary>
    Restarting,

    /// <summary>Ended with all its input processed, or because nobody wanted its output (<see cref="EndReason.NoDemand"/>).</summary>
    Completed,

    /// <summary>Ended by a cancellation, or because a stage downstream of it faulted.</summary>
    Canceled,

    /// <summary>Ended by its own failure, or by a failure upstream of it.</summary>
    Faulted,
}

/// <summary>Tells apart the ways in which a stage can end.</summary>
public enum EndReason
{
    /// <summary>The stage has not ended.</summary>
    None,

    /// <summary>Its inputs ended.</summary>
    InputEnded,

    /// <summary>It finished early by its own wish or on request.</summary>
    Finished,

    /// <summary>All its outputs were finished by their readers.</summary>
    NoDemand,

    /// <summary>It failed.</summary>
    Failed,

    /// <summary>It was cancelled, or a stage downstream of it faulted.</summary>
    Canceled,

    /// <summary>A delegate did not return in time and was left behind.</summary>
    Abandoned,
}

/// <summary>What a stage is doing at the moment of a snapshot.</summary>
public enum StageActivity
{
    /// <summary>Making and starting its instances.</summary>
    Starting,

    /// <summary>Running user code or moving items.</summary>
    Working,

    /// <summary>Waiting for an item.</summary>
    WaitingForInput,

    /// <summary>Waiting for a slot in the link to the next stage; a broadcast that has no branch waits for one.</summary>
    WaitingForOutput,

    /// <summary>Waiting until a failed item is tried again.</summary>
    WaitingForRetry,

    /// <summary>Waiting for a foreign block or reader.</summary>
    WaitingForForeignCode,

    /// <summary>Running <c>OnEndAsync</c>.</summary>
    Ending,

    /// <summary>Ended.</summary>
    Ended,
}
