using Puma.Dataflow.Isolation.Calls;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Supervision;

namespace Puma.Dataflow.Stages;

/// <summary>
/// Hears what one child says outside of its data, and measures the time of the item that it handles: when that has run out, the item's
/// token fires in the child; when the handler has not returned one abort time-out later, the child is killed.
/// </summary>
internal sealed class ChildWatcher(ChildStage stage, ChildCalls calls) : ItemTimer(stage.Graph.Time, stage.Options.ItemTimeout ?? Timeout.InfiniteTimeSpan, stage.Graph.Options.AbortTimeout), IChildOwner
{
    // Guarded by Gate.
    private Child? _child;
    private bool _isDisposed;

    private int _hasDroppedStatus;

    public ItemCodecs Codecs => stage.Codecs;

    public void Wake() => stage.Wake();

    public void OnGone(Child child, ChildExit exit) => calls.Detach(child.Calls, exit);

    void ICallServer.Serve<TControl, TArguments, TResult>(IncomingCall<TControl, TArguments, TResult> call) => calls.Serve(call);

    void ICallServer.Own(string member, Task running) => calls.Own(member, running);

    public void OnFailing(long itemNumber) => stage.OnFailing(itemNumber);

    public void OnFinishRequested() => stage.RaiseFinish();

    /// <summary>Tells the first one of each child; what is only shown must not end the run.</summary>
    public void OnStatusDropped(ItemCodecException error)
    {
        if (Interlocked.Exchange(ref _hasDroppedStatus, 1) == 0)
            stage.AddSecondary(error);
    }

    public void OnItemBegan(Child child, long itemNumber, int attempt)
    {
        lock (Gate)
        {
            if (_isDisposed)
                return;
            _child = child;
            StartLocked(itemNumber, attempt);
        }
    }

    public void OnItemWaits() => Pause();

    public void OnItemGoesOn() => Resume();

    public void OnItemReturned() => Stop();

    public override void Dispose()
    {
        lock (Gate)
            _isDisposed = true;
        base.Dispose();
    }

    protected override void OnTimeUpLocked(long itemNumber, int attempt) => _child!.Say(FrameType.CancelItem, itemNumber, attempt: attempt);

    protected override void OnOverdue(long itemNumber, int attempt) => stage.OnOverdue(_child!, itemNumber, attempt);
}
