using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>A broadcast of a run, to which branches can be attached while the run goes on. Safe for any thread.</summary>
/// <typeparam name="T">The type of its items.</typeparam>
public sealed class BroadcastHandle<T>
{
    private readonly BroadcastStage<T> _broadcast;

    internal BroadcastHandle(BroadcastStage<T> broadcast) => _broadcast = broadcast;

    /// <summary>The name of the broadcast.</summary>
    public string Name => _broadcast.Name;

    /// <summary>Attaches a branch: it is checked as <c>Build()</c> does, its stages start, and then it gets every item that the broadcast hands on.</summary>
    /// <param name="branch">Continues its parameter to an end, as for a branch that the pipeline was written with.</param>
    /// <param name="cancellationToken">Gives the attempt up while the stages of the branch are starting; the task ends when they have, at the latest after the abort time-out.</param>
    /// <returns>The lease of the branch, once it has joined. A branch whose lease nobody uses stays until the run ends.</returns>
    /// <remarks>
    /// The branch belongs to this run, not to the pipeline. Its stages are in the report and the snapshot, the run ends when they have ended,
    /// and their faults are faults of the run, unless the branch is optional. Until it has joined, a failure harms nobody else.
    /// The stages need names that no stage of the run has; those of an attached branch are free again when it has ended, and a branch that is
    /// attached under the same names goes on counting in the report where that one left off.
    /// What is wrong with the branch as it is written is thrown by the call itself, what goes wrong later by the task.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="branch"/> is null.</exception>
    /// <exception cref="ArgumentException"><paramref name="branch"/> does not continue its parameter to an end.</exception>
    /// <exception cref="PipelineBuildException">Something is wrong with the branch; all problems are listed.</exception>
    /// <exception cref="InvalidOperationException">The branch holds an instance, or a dead-letter target that is completed, and was used before.</exception>
    /// <exception cref="BroadcastClosedException">The run takes no more input or has ended, the broadcast has, or the optional branch that it is in is lost.</exception>
    /// <exception cref="StageFaultedException">A stage of the branch could not start.</exception>
    /// <exception cref="OperationCanceledException">The token fired before the branch had joined.</exception>
    public Task<BranchLease> AttachAsync(Func<BranchBuilder<T>, PipelineEnd<BranchInput>> branch, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(branch);
        StageDefinition place = BranchPlan.PlaceOf(_broadcast);
        BranchBuilder<T>.Write(place, 0, branch);
        return AttachAsync(new BranchPlan(place, _broadcast), cancellationToken);
    }

    private async Task<BranchLease> AttachAsync(BranchPlan plan, CancellationToken cancellationToken) =>
        new(await AttachedBranch.AttachAsync(plan, _broadcast, cancellationToken).ConfigureAwait(false));
}
