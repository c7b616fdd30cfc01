using Puma.Dataflow.Buffers;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>A branch that has joined a broadcast of a run. Any thread.</summary>
/// <remarks>
/// In this order a branch becomes part of a run: its stages and links are made and connected, but for the broadcast's end; the graph admits
/// them all at once, so that from then on they are told whatever the others are; they start; the broadcast's stream takes the link, which
/// decides that the branch has joined; its sources begin. Whatever happens in between refuses it, and then its stages end without having had
/// an item.
/// </remarks>
internal sealed class AttachedBranch
{
    private readonly BranchableStage _broadcast;
    private readonly Link _entry;
    private readonly BranchScope _scope;
    private readonly TaskCompletionSource _outcome = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private AttachedBranch(BranchableStage broadcast, Link entry, BranchScope scope)
    {
        (_broadcast, _entry, _scope) = (broadcast, entry, scope);
        HasEnded = WatchAsync();
    }

    public string Name => _scope.Name;

    /// <summary>Ends when every stage of the branch has, whatever way, and its names are free again.</summary>
    public Task HasEnded { get; }

    /// <summary>The same end with its outcome: faulted, cancelled or completed. Its exception is observed already.</summary>
    public Task Outcome => _outcome.Task;

    private CompletionGraph Graph => _broadcast.Graph;

    /// <summary>Attaches a branch.</summary>
    /// <exception cref="BroadcastClosedException">The broadcast takes no more branches.</exception>
    /// <exception cref="StageFaultedException">A stage of the branch could not start.</exception>
    /// <exception cref="OperationCanceledException">The token fired before the branch had joined.</exception>
    public static async Task<AttachedBranch> AttachAsync(BranchPlan plan, BranchableStage broadcast, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        CompletionGraph graph = broadcast.Graph;
        (Link entry, BranchScope scope, StartGroup group) = plan.Admit();
        try
        {
            await group.AllReported.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            scope.TryRefuse();
        }

        if (scope.IsJoining)
            await broadcast.JoinAsync(entry, scope).ConfigureAwait(false);
        if (scope.HasJoined)
        {
            group.Open();
            Log.BranchJoined(graph.Logger, scope.Name, broadcast.Name, graph.StagesIn(scope).Count());
            return new AttachedBranch(broadcast, entry, scope);
        }

        using (graph.GiveUp(scope))
        {
            entry.Complete(EndMarker.Canceled);
            await EndOfAsync(graph, scope).ConfigureAwait(false);
        }

        graph.Forget(scope);
        Exception error = scope.Failure ?? (cancellationToken.IsCancellationRequested
            ? new OperationCanceledException(cancellationToken)
            : (Exception)new BroadcastClosedException(broadcast.Name, graph.State, broadcast.EndReason, graph.Cause));
        Log.BranchRefused(graph.Logger, scope.Name, broadcast.Name, ExceptionText.MessageOf(error), scope.Failure?.InnerException);
        throw error;
    }

    /// <summary>Leads no more items into the branch; what it has is processed.</summary>
    public void Leave()
    {
        _broadcast.Leave(_entry);
        Graph.StopIn(_scope);
    }

    /// <summary>Makes the branch discard what it has. What does not return within the abort time-out is left behind.</summary>
    public async Task GiveUpAsync()
    {
        if (HasEnded.IsCompleted)
            return;
        using (Graph.GiveUp(_scope))
        {
            Leave();
            await HasEnded.ConfigureAwait(false);
        }
    }

    private async Task WatchAsync()
    {
        await EndOfAsync(Graph, _scope).ConfigureAwait(false);
        _broadcast.Leave(_entry);
        _scope.NoteEnd();
        Log.BranchEnded(Graph.Logger, Name, _broadcast.Name);
        List<StageNode> own = [.. Graph.StagesIn(_scope).Where(n => n.Scope == _scope)];
        StageNode? failed = own.Find(static n => n.EndReason == EndReason.Failed) ?? own.Find(static n => n.State == StageState.Faulted);
        if (failed?.Cause is { } cause)
        {
            _outcome.TrySetException(cause);
            _ = _outcome.Task.Exception;
        }
        else if (own.Exists(static n => n.State == StageState.Canceled))
        {
            _outcome.TrySetCanceled();
        }
        else
        {
            _outcome.TrySetResult();
        }
    }

    /// <summary>Waits until every stage of a branch has ended, those included that were attached inside of it.</summary>
    private static async Task EndOfAsync(CompletionGraph graph, BranchScope scope)
    {
        List<StageNode> running;
        while ((running = [.. graph.StagesIn(scope).Where(static n => !n.Completion.IsCompleted)]).Count > 0)
            await Task.WhenAll(running.Select(static n => n.Completion)).ConfigureAwait(false);
    }
}
