using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>
/// Hears what one child says outside of its data, and measures the time of the item that it handles: when that has run out, the item's
/// token fires in the child; when the handler has not returned one abort time-out later, the child is killed.
/// </summary>
internal sealed class ChildWatcher : IChildOwner, IDisposable
{
    private readonly ChildStage _stage;
    private readonly ITimer? _timer;
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private Child? _child;
    private long _item;
    private int _attempt;
    private bool _hasFired;
    private long _phaseStart;
    private bool _isDisposed;

    private int _hasLogFailed;

    public ChildWatcher(ChildStage stage)
    {
        _stage = stage;
        if (stage.Options.ItemTimeout is not null)
            _timer = stage.Graph.Time.CreateTimer(static state => ((ChildWatcher)state!).OnTimer(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public void Wake() => _stage.Wake();

    public void OnFailing(long itemNumber) => _stage.OnFailing(itemNumber);

    public void OnFinishRequested() => _stage.RaiseFinish();

    public void OnLog(LogRecord record)
    {
        try
        {
            _stage.Log(record);
        }
        catch (Exception error)
        {
            OnLogFailed(error);
        }
    }

    /// <summary>Tells the first failure of each child; a logger that fails must end neither the run nor what it has to say.</summary>
    public void OnLogFailed(Exception error)
    {
        if (Interlocked.Exchange(ref _hasLogFailed, 1) == 0)
            _stage.AddSecondary(error);
    }

    public void OnItemBegan(Child child, long itemNumber, int attempt)
    {
        lock (_gate)
        {
            if (_isDisposed)
                return;
            (_child, _item, _attempt, _hasFired) = (child, itemNumber, attempt, false);
            _phaseStart = _stage.Graph.Time.GetTimestamp();
            _timer?.Change(itemNumber == 0 ? Timeout.InfiniteTimeSpan : _stage.Options.ItemTimeout!.Value, Timeout.InfiniteTimeSpan);
        }
    }

    public void Dispose()
    {
        lock (_gate)
            _isDisposed = true;
        _timer?.Dispose();
    }

    private void OnTimer()
    {
        Child? child;
        long item;
        int attempt;
        bool isOverdue;
        lock (_gate)
        {
            if (_isDisposed || _item == 0)
                return;

            // A call that was under way when the next item began belongs to the one before it.
            TimeSpan left = (_hasFired ? _stage.Graph.Options.AbortTimeout : _stage.Options.ItemTimeout!.Value) - _stage.Graph.Time.GetElapsedTime(_phaseStart);
            if (left > TimeSpan.Zero)
            {
                _timer!.Change(left, Timeout.InfiniteTimeSpan);
                return;
            }

            (child, item, attempt, isOverdue) = (_child, _item, _attempt, _hasFired);
            _hasFired = true;
            _phaseStart = _stage.Graph.Time.GetTimestamp();
            if (!isOverdue)
                _timer!.Change(_stage.Graph.Options.AbortTimeout, Timeout.InfiniteTimeSpan);
        }

        if (isOverdue)
            _stage.OnOverdue(child!, item, attempt);
        else
            child!.Say(FrameType.CancelItem, item, attempt: attempt);
    }
}
