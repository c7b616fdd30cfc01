namespace Puma.Dataflow;

/// <summary>What an entry or a branch does with an item when all its slots are taken.</summary>
public enum FullMode
{
    /// <summary>The writer waits for a slot (backpressure). Nothing is lost.</summary>
    Wait,

    /// <summary>The incoming item is dropped and counted.</summary>
    DropNewest,

    /// <summary>The oldest item that is still queued is dropped and counted. When none is, the incoming one is dropped. A stage with a partition key, or in child processes, takes items out of the queue before it handles them.</summary>
    DropOldest,

    /// <summary>At an entry the send throws <see cref="PipelineFullException"/>; at a branch it is a fault.</summary>
    Fail,
}
