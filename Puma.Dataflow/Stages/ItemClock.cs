using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>
/// The time limit of one item: fires the item's token, and when the handler has not returned one abort time-out later, makes the stage
/// fault and leaves the handler behind.
/// </summary>
internal sealed class ItemClock : IDisposable
{
    private readonly StageNode _stage;
    private readonly TimeSpan _timeout;
    private readonly ITimer _timer;
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private CancellationTokenSource? _source;
    private CancellationToken _outer;
    private long _itemNumber;
    private int _attempt;
    private bool _isRunning;
    private bool _hasFired;

    public ItemClock(StageNode stage, TimeSpan timeout)
    {
        _stage = stage;
        _timeout = timeout;
        _timer = stage.Graph.Time.CreateTimer(static state => ((ItemClock)state!).OnTimer(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Starts the time of an attempt.</summary>
    /// <returns>The attempt's token.</returns>
    public CancellationToken Start(long itemNumber, int attempt, CancellationToken outer)
    {
        lock (_gate)
        {
            // A source that has not fired serves the next attempt as well.
            if (_source is null || _source.IsCancellationRequested || _outer != outer)
            {
                _source?.Dispose();
                _source = CancellationTokenSource.CreateLinkedTokenSource(outer);
                _outer = outer;
            }

            (_itemNumber, _attempt, _isRunning, _hasFired) = (itemNumber, attempt, true, false);
            _timer.Change(_timeout, Timeout.InfiniteTimeSpan);
            return _source.Token;
        }
    }

    /// <summary>Ends the time of an attempt.</summary>
    /// <returns>Whether it had run out.</returns>
    public bool Stop()
    {
        lock (_gate)
        {
            _isRunning = false;
            _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            return _hasFired;
        }
    }

    public void Dispose()
    {
        _timer.Dispose();
        lock (_gate)
        {
            _isRunning = false;
            _source?.Dispose();
        }
    }

    private void OnTimer()
    {
        long itemNumber;
        int attempt;
        lock (_gate)
        {
            if (!_isRunning)
                return;
            if (!_hasFired)
            {
                _hasFired = true;
                _timer.Change(_stage.Graph.Options.AbortTimeout, Timeout.InfiniteTimeSpan);

                // Inside the lock, so that it hits neither the next attempt nor a disposed source. The callbacks run elsewhere.
                _stage.Graph.Own(_source!.CancelAsync());
                return;
            }

            (itemNumber, attempt) = (_itemNumber, _attempt);
        }

        _stage.FailAndAbandon(new TimeoutException($"The handler of '{_stage.Name}' did not return within AbortTimeout ({_stage.Graph.Options.AbortTimeout}) after its ItemTimeout ({_timeout}) had fired its token for item {itemNumber}. It was left behind; let it observe its token."), itemNumber, attempt);
    }
}
