using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>
/// The time limit of one item: fires the item's token, and when the handler has not returned one abort time-out later, makes the stage
/// fault and leaves the handler behind. Any thread.
/// </summary>
internal sealed class ItemClock : IItemClock, IDisposable
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
    private bool _isLeftBehind;
    private int _pauses;

    // The phase that runs: since when, and how much of it was left then.
    private long _since;
    private TimeSpan _left;

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

            (_itemNumber, _attempt, _isRunning, _hasFired, _pauses) = (itemNumber, attempt, true, false, 0);
            RunLocked(_timeout);
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

    /// <summary>
    /// Whether the stage is being left behind. The end of an attempt must then wait for the end of the stage, whose links another thread
    /// closes.
    /// </summary>
    public bool IsLeftBehind
    {
        get
        {
            lock (_gate)
                return _isLeftBehind;
        }
    }

    public void Pause()
    {
        lock (_gate)
        {
            if (!_isRunning || ++_pauses > 1)
                return;
            _left -= Elapsed;
            _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }

    public void Resume()
    {
        lock (_gate)
        {
            // An emit that was not awaited may wait for longer than its item.
            if (_isRunning && _pauses > 0 && --_pauses == 0)
                RunLocked(_left);
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

    private TimeSpan Elapsed => _stage.Graph.Time.GetElapsedTime(_since);

    private void RunLocked(TimeSpan left)
    {
        _since = _stage.Graph.Time.GetTimestamp();
        _left = left;
        _timer.Change(left > TimeSpan.Zero ? left : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
    }

    private void OnTimer()
    {
        long itemNumber;
        int attempt;
        lock (_gate)
        {
            if (!_isRunning || _pauses > 0)
                return;

            // A call that was on its way when the item before this one ended.
            TimeSpan left = _left - Elapsed;
            if (left > TimeSpan.Zero)
            {
                RunLocked(left);
                return;
            }

            if (!_hasFired)
            {
                _hasFired = true;
                RunLocked(_stage.Graph.Options.AbortTimeout);

                // Inside the lock, so that it hits neither the next attempt nor a disposed source. The callbacks run elsewhere.
                _stage.Graph.Own(_source!.CancelAsync());
                return;
            }

            // Decided here, so that a handler which returns now does not go on with a stage that is being left behind.
            (_isRunning, _isLeftBehind) = (false, true);
            (itemNumber, attempt) = (_itemNumber, _attempt);
        }

        _stage.FailAndAbandon(new TimeoutException($"The handler of '{_stage.Name}' did not return within AbortTimeout ({_stage.Graph.Options.AbortTimeout}) after its ItemTimeout ({_timeout}) had fired its token for item {itemNumber}. It was left behind; let it observe its token."), itemNumber, attempt);
    }
}
