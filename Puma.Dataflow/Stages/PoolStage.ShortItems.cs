using System.Runtime.CompilerServices;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <content>Items that are shorter than their way to another thread.</content>
internal sealed partial class PoolStage<TIn, TOut>
{
    /// <summary>How often the stream lets others go first, until they have handled the short items that they have.</summary>
    private const int MostWaits = 16;

    /// <summary>After so many items it tries that again, when they have not.</summary>
    private const int ItemsUntilNextWait = 16 * 1024;

    // Whoever has it does the stream's work.
    private readonly Baton _baton = new();

    // The instance to which the baton is lent, and the item that it may be in when the baton comes home.
    private PoolInstance<TIn, TOut>? _borrower;
    private WorkItem<TIn, TOut>? _borrowed;

    // How often the stream has let others go first, and from which item on it does that again.
    private int _waits;
    private long _waitsAgainAt;

    /// <summary>
    /// Whether items are so short that handing them to other threads takes longer than they do: then, when the instances have handled what they
    /// have, one of them handles what comes next in the stream's own turn.
    /// </summary>
    private bool AreItemsShort => Volatile.Read(ref _readyAhead) == MostReady && _partition is null && (_isOneToOne || _output is null)
        && !NeedsAttention && !_lowestFailure.IsSet && !_isOutputFull && _input.Queued > 0 && Turn.IsKeeping(this)
        && !_workers.Exists(static w => w.IsCheckpointDue || w.HasCheckpoint);

    /// <summary>Gives nothing out for a moment, in which what is given out is done, if it is short as well.</summary>
    private bool TryLetThemFinish()
    {
        if (_number < _waitsAgainAt)
            return false;
        if (++_waits <= MostWaits)
        {
            ActivateForWhatIsReady();
            return true;
        }

        // One of them is not.
        (_waits, _waitsAgainAt) = (0, _number + ItemsUntilNextWait);
        return false;
    }

    /// <summary>Lends the baton to an instance for the rest of this turn, and returns when it is home.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask LendAsync()
    {
        _borrower = _workers[(_workers.IndexOf(_borrower!) + 1) % _workers.Count];
        Volatile.Write(ref _oldestSince, 0);
        _waits = 0;
        _baton.Offer();
        do
            await LeaveTurnAsync().ConfigureAwait(false);
        while (!(NeedsAttention ? _baton.Recall() : _baton.IsHome || _baton.TryWithdraw()));
        if (_borrowed is { } left)
        {
            // It was taken from an instance in user code, which ends it by itself.
            _borrowed = null;
            _window.Add(left);
        }
    }

    /// <summary>A turn in which user code blocks its thread, or is slow, ends: the stream goes on elsewhere.</summary>
    protected override void OnTurnEnds()
    {
        if (_baton.RecallForStream())
            Wake();
    }

    protected override void GoOn()
    {
        if (!_baton.TryTake())
            return;

        // What user code does to the flow is not for what comes next on this thread.
        var flow = ExecutionContext.Capture();
        if (Turn.Here is not { } turn || HandleShort(_borrower!, turn))
        {
            _baton.Return();
            Wake();
        }

        if (flow is not null)
            ExecutionContext.Restore(flow);
    }

    /// <summary>One instance handles what is there, as long as each item is delivered at once. By who has the baton.</summary>
    /// <returns>False when the baton was taken away meanwhile: then the instance is on its own.</returns>
    private bool HandleShort(PoolInstance<TIn, TOut> worker, Turn turn)
    {
        WorkItem<TIn, TOut> work = Spare();
        worker.BeginBorrowed(work);
        while (!NeedsAttention && turn.KeepsBackFor(this) && _input.TryRead(out TIn item))
        {
            work.Take(item, ++_number, isCheckpoint: false, base.WorkingSince);
            _borrowed = work;
            if (!_baton.TryEnterUserCode())
            {
                // Asked back before it began.
                _borrowed = null;
                _window.Add(work);
                worker.Ready.Enqueue(work);
                worker.EndBorrowed();
                return true;
            }

            if (!worker.TryHandleBorrowed(work, out ValueTask<Fate> handling))
            {
                // Taken away and given up in between.
                worker.EndBorrowed();
                Wake();
                return false;
            }

            bool hasBaton = _baton.TryLeaveUserCode();
            if (!hasBaton || !handling.IsCompletedSuccessfully)
            {
                if (hasBaton)
                {
                    _borrowed = null;
                    _window.Add(work);
                }

                // Until the instances say otherwise.
                NotePace(long.MaxValue);
                worker.KeepBorrowed(work, handling);
                return hasBaton;
            }

            _borrowed = null;
#pragma warning disable VSTHRD002 // It has completed, see above.
            Fate fate = handling.Result;
#pragma warning restore VSTHRD002
            if (fate.Kind != FateKind.Delivered || !PassOutputs(work))
            {
                _window.Add(work);
                work.EndWith(fate);
                worker.EndBorrowed();
                return true;
            }

            Counters.CountDelivered();
            work.Forget();
            _input.Release(1);
        }

        worker.EndBorrowed();
        _spares.Push(work);
        return true;
    }
}
