using Puma.Dataflow.Buffers;

namespace Puma.Dataflow.Lifecycle;

/// <summary>How a stage has ended, or would end now.</summary>
/// <param name="State">Its last state.</param>
/// <param name="Reason">Why it ended.</param>
/// <param name="Marker">What its outputs end with.</param>
internal readonly record struct StageEnd(StageState State, EndReason Reason, EndMarker Marker);

/// <summary>
/// Decides how one stage ends (S5) and tells those who wait for it. The first reason wins, and so does the first who ends the stage: its
/// stream, or who leaves it behind. Any thread.
/// </summary>
/// <param name="gate">The same for all stages of a run: who holds it decides of several at once, and how others end waits for that. No other lock is taken inside of it.</param>
internal sealed class StageEnding(Lock gate)
{
    private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _outcome = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Written once, inside of gate and before the stage is told; read without it, too.
    private DiscardReason _reason;
    private StageFaultedException? _failure;
    private bool _isAbandoned;

    // Guarded by gate.
    private bool _hasEnded;

    /// <summary>Why the stage gives up what it holds; none while it does not.</summary>
    public DiscardReason Reason => _reason;

    /// <summary>The failure of the stage itself.</summary>
    public StageFaultedException? Failure => _failure;

    public bool IsAbandoned => _isAbandoned;

    /// <summary>Why what is queued is given up when the stage ends.</summary>
    public DiscardReason ReasonForQueued => _reason != DiscardReason.None ? _reason : _isAbandoned ? DiscardReason.Canceled : DiscardReason.NoDemand;

    /// <summary>Ends when the stage has ended, whatever way; never faults.</summary>
    public Task Completion => _completion.Task;

    /// <summary>The same end with its outcome: faulted, cancelled or completed. Its exception is observed already.</summary>
    public Task Outcome => _outcome.Task;

    /// <summary>Decides that the stage gives up what it holds, and whether that is a failure of its own.</summary>
    /// <returns>False when that, or another end, was decided before.</returns>
    public bool TryDecide(DiscardReason reason, StageFaultedException? failure)
    {
        lock (gate)
        {
            if (_hasEnded || _reason != DiscardReason.None)
                return false;
            _reason = reason;
            _failure = failure;
            return true;
        }
    }

    /// <summary>Ends the stage in the name of its stream.</summary>
    /// <returns>False when it was left behind before.</returns>
    public bool TryEnd()
    {
        lock (gate)
        {
            if (_hasEnded)
                return false;
            _hasEnded = true;
            return true;
        }
    }

    /// <summary>Ends the stage although its user code has not returned.</summary>
    /// <returns>How it ends; null when it has ended before.</returns>
    public StageEnd? TryAbandon()
    {
        lock (gate)
        {
            if (_hasEnded)
                return null;
            _hasEnded = true;
            _isAbandoned = true;
            return _failure is null
                ? new StageEnd(StageState.Canceled, EndReason.Abandoned, EndMarker.Canceled)
                : new StageEnd(StageState.Faulted, EndReason.Abandoned, new EndMarker(EndKind.Faulted, _failure));
        }
    }

    /// <summary>How the stage would end now: by its failure, because it gave up, because it was to finish early, or as its inputs did. The stream only.</summary>
    public StageEnd Expect(StageLinks links, bool isFinishing)
    {
        lock (gate)
        {
            switch (_reason)
            {
                case DiscardReason.Faulted when _failure is not null:
                    return new StageEnd(StageState.Faulted, EndReason.Failed, new EndMarker(EndKind.Faulted, _failure));
                case DiscardReason.NoDemand:
                    return new StageEnd(StageState.Completed, EndReason.NoDemand, EndMarker.Completed);
                case not DiscardReason.None:
                    return new StageEnd(StageState.Canceled, EndReason.Canceled, EndMarker.Worst(EndMarker.Canceled, links.WorstInput()));
            }
        }

        if (isFinishing)
            return new StageEnd(StageState.Completed, EndReason.Finished, EndMarker.Completed);
        EndMarker worst = links.WorstInput();
        StageState state = worst.Kind switch
        {
            EndKind.Faulted => StageState.Faulted,
            EndKind.Canceled => StageState.Canceled,
            _ => StageState.Completed,
        };
        return new StageEnd(state, EndReason.InputEnded, worst);
    }

    /// <summary>Tells those who wait. Called once, by who has ended the stage.</summary>
    public void Tell(StageEnd end, CancellationToken discardToken)
    {
        _completion.TrySetResult();
        if (end.State == StageState.Faulted)
            _outcome.SetObserved(end.Marker.Cause!);
        else if (end.State == StageState.Canceled)
            _outcome.TrySetCanceled(discardToken);
        else
            _outcome.TrySetResult();
    }
}
