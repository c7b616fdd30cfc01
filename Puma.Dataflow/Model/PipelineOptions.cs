using Microsoft.Extensions.Logging;

namespace Puma.Dataflow;

/// <summary>The settings of a whole pipeline. Immutable; copied by <c>with</c>.</summary>
public sealed record PipelineOptions
{
    internal static PipelineOptions Default { get; } = new();

    /// <summary>The name of the pipeline in its log category.</summary>
    /// <value>Default <c>pipeline</c>.</value>
    public string Name { get; init; } = "pipeline";

    /// <summary>Where stages live that do not say it themselves.</summary>
    /// <value>Default <see cref="Placement.InProcess"/>.</value>
    public Placement DefaultPlacement { get; init; } = Placement.InProcess;

    /// <summary>What carries the items from one stage to the next in this process.</summary>
    /// <value>Default <see cref="LinkKind.Burst"/>. What a pipeline does is the same with both.</value>
    public LinkKind Links { get; init; } = LinkKind.Burst;

    /// <summary>Where the library and the runnables log.</summary>
    /// <value>Default <see langword="null"/>: NLog, with the application's configuration, or a console target on standard error when there is none.</value>
    public ILoggerFactory? LoggerFactory { get; init; }

    /// <summary>The clock of all ticks, ages, time-outs and back-offs.</summary>
    /// <value>Default <see cref="TimeProvider.System"/>.</value>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>What the rest of a run does when one stage faults.</summary>
    /// <value>Default <see cref="FaultMode.DrainDownstream"/>.</value>
    public FaultMode FaultMode { get; init; } = FaultMode.DrainDownstream;

    /// <summary>How long delegates and <c>OnEndAsync</c> have, in all, from a cancel or abort on; what has not returned by then is abandoned.</summary>
    /// <value>Default 5 seconds; not negative.</value>
    public TimeSpan AbortTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a run that drains after a fault may go without any progress before it aborts.</summary>
    /// <value>Default 30 seconds; positive.</value>
    public TimeSpan DrainTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long queued work may stand still before one warning with the wait-for chain is logged.</summary>
    /// <value>Default 30 seconds; positive, or <see cref="Timeout.InfiniteTimeSpan"/> for never.</value>
    /// <remarks>
    /// Four times in it, the run looks at its progress. A stage that waits for a slot also learns there, at the latest, of slots that have become
    /// free in front of user code that blocks its thread.
    /// </remarks>
    public TimeSpan StallTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a call to a runnable may take before it fails with <see cref="CommandFailure.TimedOut"/> and its token fires.</summary>
    /// <value>Default <see langword="null"/>: no limit. Must be positive.</value>
    public TimeSpan? CallTimeout { get; init; }

    /// <summary>How long a call to a runnable may take before one warning about its member is logged.</summary>
    /// <value>Default 1 second; positive, or <see cref="Timeout.InfiniteTimeSpan"/> for never.</value>
    public TimeSpan SlowCallWarning { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The calls per second of one member above which one warning about it is logged.</summary>
    /// <value>In calls per second. Default <see langword="null"/>: never. At least 1.</value>
    public int? ChattyCallWarning { get; init; }

    /// <summary>Makes a codec that is asked first how items are carried to child processes; called at <c>Build()</c> and for each isolated stage, in this process and in its children.</summary>
    /// <value>Default <see langword="null"/>: the library's own. Must not capture anything; <c>Build()</c> checks it.</value>
    public Func<IItemCodec>? ItemCodec { get; init; }

    /// <summary>The types that items, or members of items, may have although they are declared as a base type or an interface.</summary>
    /// <value>Default empty. A value of a type that is not declared is an error of its item, never cut down to the base type.</value>
    public IReadOnlyList<Type> DerivedTypes { get; init; } = [];

    /// <summary>Called for each item that is discarded, so that pooled or disposable items can be released.</summary>
    /// <value>Default <see langword="null"/>.</value>
    /// <remarks>
    /// May be called from several threads at once; for items of a stage that was left behind on the thread pool, maybe after the end of the run.
    /// An exception that it throws is a secondary error of the run.
    /// </remarks>
    public Action<DiscardedItem>? OnDiscarded { get; init; }
}
