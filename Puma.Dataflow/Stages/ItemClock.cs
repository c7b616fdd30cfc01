using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>
/// The time limit of one item in this process: fires the item's token, and when the handler has not returned one abort time-out later,
/// makes the stage fault and leaves the handler behind. Any thread.
/// </summary>
internal sealed class ItemClock(StageNode stage, TimeSpan timeout) : ItemTimer(stage.Graph.Time, timeout, stage.Graph.Options.AbortTimeout)
{
    // Guarded by Gate.
    private CancellationTokenSource? _source;
    private CancellationToken _outer;
    private bool _isLeftBehind;

    /// <summary>Starts the time of an attempt.</summary>
    /// <returns>The attempt's token.</returns>
    public CancellationToken Start(long itemNumber, int attempt, CancellationToken outer)
    {
        lock (Gate)
        {
            // A source that has not fired serves the next attempt as well.
            if (_source is null || _source.IsCancellationRequested || _outer != outer)
            {
                _source?.Dispose();
                _source = CancellationTokenSource.CreateLinkedTokenSource(outer);
                _outer = outer;
            }

            StartLocked(itemNumber, attempt);
            return _source.Token;
        }
    }

    /// <summary>
    /// Whether the stage is being left behind. The end of an attempt must then wait for the end of the stage, whose links another thread
    /// closes.
    /// </summary>
    public bool IsLeftBehind
    {
        get
        {
            lock (Gate)
                return _isLeftBehind;
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        lock (Gate)
            _source?.Dispose();
    }

    /// <summary>Fires the token, whose callbacks run elsewhere.</summary>
    protected override void OnTimeUpLocked(long itemNumber, int attempt) => stage.Graph.Own(_source!.CancelAsync());

    protected override void OnOverdueLocked() => _isLeftBehind = true;

    protected override void OnOverdue(long itemNumber, int attempt) =>
        stage.FailAndAbandon(new TimeoutException($"The handler of '{stage.Name}' did not return within AbortTimeout ({AbortTimeout}) after its {stage.ItemTimeoutName} ({ItemTimeout}) had fired its token for item {itemNumber}. It was left behind; let it observe its token."), itemNumber, attempt);
}
