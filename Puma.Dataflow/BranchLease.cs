using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>A branch that was attached to a broadcast of a run. Safe for any thread, any number of times.</summary>
public sealed class BranchLease : IAsyncDisposable
{
    private readonly AttachedBranch _branch;

    internal BranchLease(AttachedBranch branch) => _branch = branch;

    /// <summary>The name of the branch: the one it was given by <c>Named</c>, else that of its first stage.</summary>
    public string Name => _branch.Name;

    /// <summary>
    /// Ends when all stages of the branch have ended, those included that were attached inside of it: faulted with the failure that ended the
    /// branch, cancelled, or completed. Also tells of an optional branch that was lost while the run went on.
    /// </summary>
    public Task Completion => _branch.Outcome;

    /// <summary>Leads no more items into the branch: its input ends as completed, sources of its own are asked to end, and what it has is processed.</summary>
    /// <returns>Ends when all stages of the branch have ended, whatever way; <see cref="Completion"/> tells which. Never faults.</returns>
    /// <remarks>At once: what is still in front of the broadcast is not led in, also when its send has ended before; wait for the last item in the branch to drain it first. A handler of the branch that awaits it waits for itself; so it does with <see cref="DisposeAsync"/>.</remarks>
    public Task DetachAsync()
    {
        _branch.Leave();
        return _branch.HasEnded;
    }

    /// <summary>
    /// Gives the branch up, if it has not ended: it gets no more items, discards and counts what it has, and its tokens fire. The run goes on
    /// without it. Returns when its stages have ended, at the latest after the abort time-out. Never throws. To have everything processed,
    /// call <see cref="DetachAsync"/> before.
    /// </summary>
    public async ValueTask DisposeAsync() => await _branch.GiveUpAsync().ConfigureAwait(false);
}
