using System.Globalization;

namespace Puma.Dataflow;

/// <summary>What <see cref="Workers"/> do at one moment, or have done in the end. Immutable.</summary>
/// <remarks>
/// The numbers are read one after the other while jobs go on; when all workers have ended, every job is in one of
/// <see cref="Succeeded"/>, <see cref="Failed"/> and <see cref="Canceled"/>. A submission that is refused because no more jobs are taken,
/// or whose token has fired before, is no job and in none of them.
/// </remarks>
public sealed record WorkersSnapshot
{
    /// <summary>The state of the workers together.</summary>
    public required RunState State { get; init; }

    /// <summary>Jobs that wait for a place, because <see cref="WorkersOptions.BoundedCapacity"/> is used up.</summary>
    public long Waiting { get; init; }

    /// <summary>Jobs that have a place and wait for a worker.</summary>
    public long Queued { get; init; }

    /// <summary>Jobs that a worker has.</summary>
    public long Running { get; init; }

    /// <summary>Jobs that have returned.</summary>
    public long Succeeded { get; init; }

    /// <summary>Jobs that failed, were lost with their worker, or had no place yet when the workers faulted.</summary>
    public long Failed { get; init; }

    /// <summary>Jobs that were cancelled.</summary>
    public long Canceled { get; init; }

    /// <summary>How often another worker took the place of a lost one.</summary>
    public long Restarts { get; init; }

    /// <summary>How long the workers have lived.</summary>
    public TimeSpan Duration { get; init; }

    /// <summary>What faulted them; null when nothing has.</summary>
    public StageFaultedException? Cause { get; init; }

    /// <summary>A line for people.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{State} after {Duration.TotalSeconds:0.000} s: {Waiting} waiting, {Queued} queued, {Running} running; {Succeeded} succeeded, {Failed} failed, {Canceled} cancelled; {Restarts} restarts{(Cause is null ? "" : $"; cause: {Cause.Message}")}");
}
