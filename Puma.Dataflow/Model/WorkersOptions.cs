using Microsoft.Extensions.Logging;

namespace Puma.Dataflow;

/// <summary>The settings of <see cref="Workers"/>. Immutable; copied by <c>with</c>.</summary>
public sealed record WorkersOptions
{
    internal static WorkersOptions Default { get; } = new();

    /// <summary>The name of the workers in logs and errors.</summary>
    /// <value>Default <c>workers</c>.</value>
    public string Name { get; init; } = "workers";

    /// <summary>How many workers there are: how many jobs run at the same time.</summary>
    /// <value>Default: the number of processors. At least 1, at most <see cref="BoundedCapacity"/>.</value>
    public int Count { get; init; } = Environment.ProcessorCount;

    /// <summary>The most jobs that are held: those that wait for a worker and those that run. Further ones wait for a place.</summary>
    /// <value>Default 128, or <see cref="Count"/> if that is more. At least <see cref="Count"/>.</value>
    public int BoundedCapacity { get => _boundedCapacity ?? Math.Max(StageOptions.DefaultCapacity, Count); init => _boundedCapacity = value; }

    private readonly int? _boundedCapacity;

    /// <summary>Where the workers live: on the thread pool, each in a child process of its own, or behind the codec of one.</summary>
    /// <value>Default <see cref="Placement.InProcess"/>.</value>
    public Placement Placement { get; init; } = Placement.InProcess;

    /// <summary>What happens when a worker in a child process is lost. May be said by <see cref="ChildProcessPlacement.OnLoss"/> instead, not by both.</summary>
    /// <value>
    /// Default <see langword="null"/>: another worker takes its place after 100 ms, doubling up to one second while losses go on; the job
    /// that it had fails with <see cref="JobFailedException.IsOutcomeUnknown"/> and is not run again; more than 10 losses of one worker
    /// within a minute fault all. With <see cref="RestartPolicy.Replay"/> the job is run again, with <see cref="LossPolicy.Fault"/> the
    /// first loss faults all.
    /// </value>
    public LossPolicy? OnLoss { get; init; }

    /// <summary>How long a job may take before its token fires and it fails with <see cref="TimeoutException"/>.</summary>
    /// <value>Default <see langword="null"/>: no limit. Must be positive, at most 49 days.</value>
    /// <remarks>A job that has not returned <see cref="AbortTimeout"/> later is ended with its process in a child, as a loss; in this process it is left behind, and the workers fault.</remarks>
    public TimeSpan? JobTimeout { get; init; }

    /// <summary>Whether each worker has a background thread of its own, for jobs that block.</summary>
    /// <value>Default <see langword="false"/>: the thread pool.</value>
    public bool OwnThread { get; init; }

    /// <summary>How long running jobs have to end after <see cref="Workers.DisposeAsync"/> has fired their tokens.</summary>
    /// <value>Default 5 seconds; not negative, at most 49 days.</value>
    public TimeSpan AbortTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Where the library logs, and what jobs log in child processes.</summary>
    /// <value>Default <see langword="null"/>: NLog, as in <see cref="PipelineOptions.LoggerFactory"/>.</value>
    public ILoggerFactory? LoggerFactory { get; init; }

    /// <summary>The clock of time-outs.</summary>
    /// <value>Default <see cref="TimeProvider.System"/>.</value>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Makes a codec that is asked first how arguments and results are carried to child processes.</summary>
    /// <value>Default <see langword="null"/>: the library's own. Must not capture anything.</value>
    public Func<IItemCodec>? ItemCodec { get; init; }

    /// <summary>The types that arguments, results, or members of them, may have although they are declared as a base type or an interface.</summary>
    /// <value>Default empty.</value>
    public IReadOnlyList<Type> DerivedTypes { get; init; } = [];
}
