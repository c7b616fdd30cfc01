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
    private const int ItemsAfterWaits = 16 * 1024;

    /// <summary>After so many items it lends its baton again, when items were not short.</summary>
    private const int ItemsAfterLongOnes = 1024;

    /// <summary>The most items that are handled without a look at everything else.</summary>
    private const int MostInARow = 4096;

    /// <summary>Of fewer items nobody says how long they take.</summary>
    private const int ItemsPerPace = 32;

    /// <summary>Items are not short that take longer on the average, in timestamps: half a microsecond.</summary>
    private static readonly long s_long = TimeProvider.System.TimestampFrequency / 2_000_000;

    // Whoever has it does the stream's work.
    private readonly Baton _baton = new();

    // Whether instances can do without what the thread pool does for them. Set by the start.
    private bool _canLend;

    // The instance to which the baton is lent, and the item that it may be in when the baton comes home.
    private PoolInstance<TIn, TOut>? _lentTo;
    private WorkItem<TIn, TOut>? _inUserCode;

    // The turn in which it was lent: what other turns of the stream keep back does not matter to it. Written by who has taken the baton, read by any thread.
    private Turn? _lentIn;

    // How often the stream has let others go first, and the first item that may be taken for a short one again.
    private int _waits;
    private long _shortFrom;

    /// <summary>
    /// Whether items are so short that handing them to other threads takes longer than they do: then, when the instances have handled what they
    /// have, one of them handles what comes next in the stream's own turn.
    /// </summary>
    private bool ShouldLend => _canLend && _pace.IsShorterThanItsWay && _number >= _shortFrom
        && !NeedsAttention && !_lowestFailure.IsSet && !_isOutputFull && _input.Queued > 0 && Turn.IsKeeping(this)
        && !_workers.Exists(static w => w.IsCheckpointDue || w.HasCheckpoint);

    /// <summary>Finds out whether the stage can do with items what it does with short ones: each goes to any instance, and makes one output at most.</summary>
    private void DecideLending() => _canLend = _partition is null && (_isOneToOne || _output is null) && _workers.TrueForAll(static w => w.NeedsNoFlow);

    /// <summary>Gives nothing out for a moment, in which what is given out is done, if it is short as well.</summary>
    private bool TryLetThemFinish()
    {
        if (++_waits <= MostWaits)
        {
            ActivateForWhatIsReady();
            return true;
        }

        // One of them is not.
        (_waits, _shortFrom) = (0, _number + ItemsAfterWaits);
        return false;
    }

    /// <summary>Lends the baton to an instance for the rest of this turn, and returns when it is home.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask LendAsync()
    {
        _lentTo = _workers[(_workers.IndexOf(_lentTo!) + 1) % _workers.Count];
        Volatile.Write(ref _oldestSince, 0);
        _waits = 0;
        _baton.Offer();
        do
            await LeaveTurnAsync().ConfigureAwait(false);
        while (!(NeedsAttention ? _baton.Recall() : _baton.IsHome || _baton.TryWithdraw()));
        if (_inUserCode is { } left)
        {
            // It was taken from an instance in user code, which ends it by itself.
            _input.CountReceived();
            _inUserCode = null;
            _window.Add(left);
            _shortFrom = _number + ItemsAfterLongOnes;
        }
    }

    /// <summary>A turn in which user code blocks its thread, or is slow, ends: the stream goes on elsewhere.</summary>
    protected override void OnTurnEnds(Turn turn)
    {
        if (turn == Volatile.Read(ref _lentIn) && _baton.RecallForStream())
            Wake();
    }

    protected override void UseRestOfTurn(Turn turn)
    {
        if (!_baton.TryTake())
            return;

        // A full fence: either this turn is seen to keep nothing back any more, or who has ended that sees the turn, and recalls the baton.
        Interlocked.Exchange(ref _lentIn, turn);

        // What user code does to the flow is not for what comes next on this thread.
        var flow = ExecutionContext.Capture();
        bool hasBaton = true;
        try
        {
            hasBaton = HandleInTurn(_lentTo!, turn);
        }
        catch (Exception error)
        {
            // Not of user code, which is where the baton can be taken away.
            Fail(error);
        }

        if (hasBaton)
        {
            _baton.Return();
            Wake();
        }

        if (flow is not null)
            ExecutionContext.Restore(flow);
    }

    /// <summary>An instance handles what is there, as long as it is short. By who has the baton.</summary>
    /// <returns>False when the baton was taken away meanwhile: then the instance is on its own.</returns>
    private bool HandleInTurn(PoolInstance<TIn, TOut> worker, Turn turn)
    {
        WorkItem<TIn, TOut> work = Spare();
        if (!worker.TryOccupy(work))
        {
            _spares.Push(work);
            return true;
        }

        long begin = TimeProvider.System.GetTimestamp(), before = _number;
        if (!HandleShort(worker, work, turn, begin))
            return false;
        if (TimeProvider.System.GetTimestamp() - begin > s_long * Math.Max(_number - before, ItemsPerPace))
            _shortFrom = _number + ItemsAfterLongOnes;
        return true;
    }

    /// <summary>Handles one item after another, as long as each is delivered at once.</summary>
    /// <inheritdoc cref="HandleInTurn"/>
    private bool HandleShort(PoolInstance<TIn, TOut> worker, WorkItem<TIn, TOut> work, Turn turn, long begin)
    {
        long first = _number, last = first + MostInARow;
        while (_number < last && !NeedsAttention && turn.KeepsBackFor(this) && _input.TryRead(out TIn item))
        {
            work.Take(item, ++_number, isCheckpoint: false, base.WorkingSince);
            worker.StartInTurn(work);
            _inUserCode = work;
            if (!_baton.TryEnterUserCode())
            {
                // Asked back before it began.
                work.TakeBackStart();
                _inUserCode = null;
                _window.Add(work);
                worker.Ready.Enqueue(work);
                worker.Vacate();
                return true;
            }

            ValueTask<Fate> handling = worker.HandleAsync(work);
            if (!_baton.TryLeaveUserCode())
            {
                worker.LeaveThreadWith(work, handling, begin, work.Number - first - 1);
                return false;
            }

            _inUserCode = null;
            _input.CountReceived();
            if (!handling.IsCompletedSuccessfully)
            {
                _window.Add(work);
                _shortFrom = _number + ItemsAfterLongOnes;
                worker.LeaveThreadWith(work, handling, begin, work.Number - first - 1);
                return true;
            }

#pragma warning disable VSTHRD002 // It has completed, see above.
            Fate fate = handling.Result;
#pragma warning restore VSTHRD002
            if (fate.Kind != FateKind.Delivered || !PassOutputs(work, turn))
            {
                _window.Add(work);
                work.EndWith(fate);
                worker.Vacate();
                return true;
            }

            Counters.CountDelivered();
            work.Forget();
            _input.Release(1);
        }

        worker.Vacate();
        _spares.Push(work);
        return true;
    }
}
