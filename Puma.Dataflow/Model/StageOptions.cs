namespace Puma.Dataflow;

/// <summary>The settings of one stage. Immutable; copied by <c>with</c>.</summary>
public sealed record StageOptions
{
    /// <summary>The capacity of a link when nothing else is said.</summary>
    internal const int DefaultCapacity = 128;

    internal static StageOptions Default { get; } = new();

    /// <summary>The name of the stage in reports, logs and errors, unique in its pipeline.</summary>
    /// <value>Default <see langword="null"/>: the kind of the stage, numbered when there are several.</value>
    public string? Name { get; init; }

    /// <summary>The most items that each input of this stage holds: queued, in work, waiting for a retry or for their turn.</summary>
    /// <value>Default 128; at least 1, at least <see cref="MaxDegreeOfParallelism"/>, at least the batch size. Always bounded.</value>
    /// <remarks>On an entry a value given here can only lower the capacity of the first stage's input.</remarks>
    public int BoundedCapacity { get => ExplicitCapacity ?? DefaultCapacity; init => ExplicitCapacity = value; }

    internal int? ExplicitCapacity { get; private init; }

    /// <summary>How many instances of the stage handle items at the same time.</summary>
    /// <value>Default 1; at least 1, at most <see cref="BoundedCapacity"/>.</value>
    public int MaxDegreeOfParallelism { get; init; } = 1;

    /// <summary>Whether outputs leave in the order of their inputs when <see cref="MaxDegreeOfParallelism"/> is above 1.</summary>
    /// <value>Default <see langword="true"/>.</value>
    public bool EnsureOrdered { get; init; } = true;

    /// <summary>Where the instances live.</summary>
    /// <value>Default <see langword="null"/>: <see cref="PipelineOptions.DefaultPlacement"/>.</value>
    public Placement? Placement { get; init; }

    /// <summary>What happens to an item whose handler throws.</summary>
    /// <value>Default <see cref="ErrorPolicy.Fault"/>.</value>
    public ErrorPolicy ErrorPolicy { get; init; } = ErrorPolicy.Fault;

    /// <summary>How long one attempt at one item may take before its token fires and the item fails with <see cref="TimeoutException"/>.</summary>
    /// <value>Default <see langword="null"/>: no limit. Must be positive.</value>
    /// <remarks>
    /// The time for which an emit waits for a slot does not count. What is emitted after the time has run out is refused; the output of a
    /// delegate is passed on only when it returned in time. A handler that has not returned <see cref="PipelineOptions.AbortTimeout"/>
    /// after its token fired is abandoned and the run faults.
    /// </remarks>
    public TimeSpan? ItemTimeout { get; init; }

    /// <summary>How often <c>OnTickAsync</c> of a runnable is called.</summary>
    /// <value>Default <see langword="null"/>: no ticks. Must be positive.</value>
    public TimeSpan? TickInterval { get; init; }

    /// <summary>Whether the ticks wait for <see cref="TickSchedule.Resume"/> instead of running from the start.</summary>
    /// <value>Default <see langword="false"/>.</value>
    public bool TicksPaused { get; init; }

    /// <summary>Whether one background thread of its own runs all callbacks of each instance, for libraries that block or are bound to a thread.</summary>
    /// <value>Default <see langword="false"/>: threads that stages share, those of the pool and those that receive from child processes.</value>
    public bool OwnThread { get; init; }

    /// <summary>When a stage with several inputs completes.</summary>
    /// <value>Default <see cref="FanIn.All"/>. Only for merges, joins and runnables with several inputs.</value>
    public FanIn FanIn { get; init; } = FanIn.All;

    /// <summary>What a broadcast does with its items while it has no branch, because none was attached yet or the last one has ended.</summary>
    /// <value>
    /// Default <see langword="null"/>: a broadcast that was written with branches ends when none is left (<see cref="Puma.Dataflow.NoBranches.End"/>), one that
    /// was written without any keeps its items for the first that is attached (<see cref="Puma.Dataflow.NoBranches.Wait"/>). Only for broadcasts.
    /// </value>
    public NoBranches? NoBranches { get; init; }

    /// <summary>What an entry does with an item when all slots are taken.</summary>
    /// <value>Default <see cref="FullMode.Wait"/>. Only for entries (<c>Accept</c>); branches have <c>WhenFull</c>.</value>
    public FullMode FullMode { get; init; } = FullMode.Wait;

    /// <summary>How long <c>SendAsync</c> at an entry waits for a slot before it throws <see cref="TimeoutException"/>.</summary>
    /// <value>Default <see langword="null"/>: as long as it takes. Must be positive. Only for entries (<c>Accept</c>).</value>
    public TimeSpan? SendTimeout { get; init; }

    /// <summary>Whether an entry completes when its last sender lease is disposed.</summary>
    /// <value>Default <see langword="false"/>: only by <c>Complete()</c>. Only for entries (<c>Accept</c>).</value>
    public bool CompleteWithLastSender { get; init; }
}
