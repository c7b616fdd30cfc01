using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>
/// A stage with several instances. Its stream alone reads the input, makes items ready for instances, and writes and settles what they
/// made, in the order of the input or as it comes. Instances run on the thread pool and touch nothing but their work item.
/// </summary>
/// <remarks>
/// Who takes an item out of the input takes it from whoever is free later; so the stream makes no more items ready than there are free
/// instances, as long as items take their time. Of short ones it makes as many ready as an instance handles in a short turn, so that
/// neither of the two waits for the other after each of them.
/// </remarks>
internal sealed class PoolStage<TIn, TOut> : StageNode, IControlledStage
{
    /// <summary>The items that are ready are worth about so much time of one instance, in timestamps: 100 microseconds.</summary>
    private static readonly long s_readyTime = TimeProvider.System.TimestampFrequency / 10_000;

    /// <summary>The most items that are ready beyond those that free instances take at once.</summary>
    private const int MostReady = 64;

    /// <summary>How often the stream lets others go first, until they have handled the short items that they have.</summary>
    private const int MostWaits = 16;

    /// <summary>After so many items it tries that again, when they have not.</summary>
    private const int ItemsUntilNextWait = 16 * 1024;

    private readonly Func<ItemHandler<TIn, TOut>> _makeHandler;
    private readonly Func<TIn, int>? _partition;
    private readonly bool _isOneToOne;
    private readonly InstanceControl[] _controls;

    // Whoever has it does the stream's work.
    private readonly Baton _baton = new();

    // All fields belong to the stage's stream, or who has its baton, but for those that say otherwise.
    private readonly List<PoolInstance<TIn, TOut>> _workers = [];
    private readonly Stack<WorkItem<TIn, TOut>> _spares = [];
    private readonly List<WorkItem<TIn, TOut>> _window = [];
    private Link<TIn> _input = null!;
    private Link<TOut>? _output;
    private long _number;
    private int _head;
    private bool _isOutputFull;

    // The instance to which the baton is lent, and the item that it may be in when the baton comes home.
    private PoolInstance<TIn, TOut>? _borrower;
    private WorkItem<TIn, TOut>? _borrowed;

    // How often the stream has let others go first, and from which item on it does that again.
    private int _waits;
    private long _waitsAgainAt;

    // Whether all items are settled, and the instances complete.
    private bool _isCompleting;

    // By instance, during one look at the window: whether an item of its keys was not done.
    private readonly bool[] _isBehind;

    // When the burst was taken that the oldest item of the window came with; 0 while there is none. Written by the stream, read by anyone.
    private long _oldestSince;

    // How many instances wait for their next attempt. They change it, the stream reads it.
    private int _retrying;

    // Set by the timer that found a handler which does not return; the stream then leaves the stage behind.
    private volatile bool _isLeftBehind;

    // The lowest item that failed for good; instances lower it, the stream reads it before it hands out an item.
    private readonly LowestFailure _lowestFailure = new();

    // How many items may be ready beyond those that free instances take at once. Set by the instances, as their items are long or short.
    private int _readyAhead;

    /// <param name="setup">What the stage is made from.</param>
    /// <param name="makeHandler">Makes the user code of one instance.</param>
    /// <param name="partition">The hash code of an item's key, which chooses the instance; null lets any free one take it.</param>
    /// <param name="isOneToOne">Whether each item makes exactly one output, as the last thing that its handler does.</param>
    public PoolStage(StageSetup setup, Func<ItemHandler<TIn, TOut>> makeHandler, Func<TIn, int>? partition, bool isOneToOne)
        : base(setup)
    {
        (_makeHandler, _partition, _isOneToOne) = (makeHandler, partition, isOneToOne);
        _isBehind = new bool[Options.MaxDegreeOfParallelism];
        CallWatch watch = this.MakeWatch();
        _controls = [.. Enumerable.Range(0, Options.MaxDegreeOfParallelism).Select(i => this.MakeControl(watch, i))];
        Instances = [.. _controls.Select(static c => new InstanceTarget(c))];
    }

    public IReadOnlyList<ControlTarget> Instances { get; }

    // ---- For the instances. Any thread. ----------------------------------------------------------------------------------------------

    /// <summary>Items above it are not started any more; the highest number when none has failed for good.</summary>
    public long LowestFailure => _lowestFailure.Number;

    /// <summary>Whether no further item is started: none at all any more, or none until the stream has seen to what the stage was told.</summary>
    public bool IsHeld => NeedsAttention;

    /// <summary>Counts an item whose handling starts.</summary>
    public void CountStarted() => _input.CountReceivedByAny();

    /// <summary>Says how long an item takes, as far as one can tell.</summary>
    /// <param name="ticks">In timestamps of the system's clock.</param>
    public void NotePace(long ticks) => Volatile.Write(ref _readyAhead, (int)Math.Min(MostReady, s_readyTime / Math.Max(1, ticks)));

    // ----------------------------------------------------------------------------------------------------------------------------------

    /// <summary>Whether outputs wait for those of earlier items. When no items are left, they must not: their makers may wait for each other.</summary>
    private bool IsOrdered => Options.EnsureOrdered && !_isCompleting;

    /// <summary>Whether the outputs have an order that must not get a hole.</summary>
    private bool MakesStream => IsOrdered && _output is not null;

    private int WindowCount => _window.Count - _head;

    /// <summary>Whether an item is not settled; turns for commands are none.</summary>
    private bool HasItems => _window.FindIndex(_head, static w => !w.IsCheckpoint) >= 0;

    public override long WorkingSince => Volatile.Read(ref _oldestSince) is > 0 and var oldest ? oldest : base.WorkingSince;

    public override void OnRetryWait(DateTimeOffset? due)
    {
        Interlocked.Add(ref _retrying, due is null ? -1 : 1);

        // What the stage waits for is shown by its stream.
        Wake();
    }

    /// <summary>The stream goes on although a handler does not return: it first gives up what has not started, which is then discarded and not abandoned.</summary>
    public override void FailAndAbandon(Exception error, long itemNumber, int attempt)
    {
        Fail(error, itemNumber, attempt);
        _isLeftBehind = true;
        Wake();
    }

    protected override async ValueTask StartAsync()
    {
        _input = (Link<TIn>)Inputs[0];
        _output = Outputs.Length > 0 ? (Link<TOut>)Outputs[0] : null;
        ConcurrentQueue<WorkItem<TIn, TOut>> ready = new();
        LinkEmitter<TOut>? output = DirectEmitter();
        for (int i = 0; i < Options.MaxDegreeOfParallelism; i++)
        {
            var worker = new PoolInstance<TIn, TOut>(this, _partition is null ? ready : new(), _makeHandler(), _controls[i], this.MakeContext(i));
            try
            {
                await worker.StartAsync(output ?? NoEmitter, DiscardToken).ConfigureAwait(false);
            }
            catch
            {
                // What has not started is not ended either.
                worker.Dispose();
                throw;
            }

            _workers.Add(worker);
        }

        // From here on the stream alone writes the output.
        if (output is not null)
            await output.RetireAsync().ConfigureAwait(false);
    }

    protected override async Task RunAsync()
    {
        bool hasYielded = false;
        while (true)
        {
            if (IsDiscarding)
                return;
            MoveCheckpointsBehindWhatIsStarted();
            await SettleAsync().ConfigureAwait(false);
            if (IsDiscarding)
                return;
            CancelHigherThanFailure();
            if (AreItemsShort)
            {
                if (WindowCount == 0 && _workers.TrueForAll(static w => w.CanBorrow))
                {
                    await LendAsync().ConfigureAwait(false);
                    continue;
                }

                if (TryLetThemFinish())
                {
                    await YieldAsync().ConfigureAwait(false);
                    continue;
                }
            }

            HandOut();
            Volatile.Write(ref _oldestSince, WindowCount > 0 ? _window[_head].Since : 0);
            if (IsFinishing ? WindowCount == 0 : _input.End is not null && !HasItems)
                break;

            // In order, an item that will not be handled ends the stream: what comes after it is given up as well.
            if (IsFinishing && MakesStream && WindowCount > 0 && !_window[_head].IsStarted)
                return;

            // Of short items the next ones are done at once; who waits in the thread's queue may be the one that handles them.
            hasYielded = !hasYielded && !_isOutputFull && !Turn.IsKeeping(this) && Volatile.Read(ref _readyAhead) >= MostReady / 4;
            if (hasYielded)
            {
                await YieldAsync().ConfigureAwait(false);
                continue;
            }

            StageActivity activity = _isOutputFull ? StageActivity.WaitingForOutput
                : WindowCount == 0 ? StageActivity.WaitingForInput
                : Volatile.Read(ref _retrying) > 0 ? StageActivity.WaitingForRetry
                : StageActivity.Working;
            await WaitAsync(activity, _isOutputFull ? _output : null).ConfigureAwait(false);
            BeginWork();
        }

        if (!IsFinishing)
            await CompleteAsync().ConfigureAwait(false);
    }

    /// <summary>
    /// Lets one instance after another complete. All have their turns for commands meanwhile, also those that have completed: one that
    /// completes may wait for their answers.
    /// </summary>
    private async Task CompleteAsync()
    {
        _isCompleting = true;
        bool hadLastTurns = false;
        for (int next = 0; ;)
        {
            MoveCheckpointsBehindWhatIsStarted();
            await SettleAsync().ConfigureAwait(false);
            if (IsDiscarding)
                return;
            bool isOneCompleting = _window.FindIndex(_head, static w => w.IsCompletion) >= 0;
            bool haveAllCompleted = !isOneCompleting && next == _workers.Count;

            // What came before the last one had completed has its turn, what comes later is refused: a flood of commands keeps no stage.
            if (!hadLastTurns)
            {
                NoteCheckpoints();
                if (!isOneCompleting && !haveAllCompleted && !_workers[next].HasCheckpoint)
                    GiveTurn(next++, isCompletion: true);
                GiveCheckpoints();
            }

            hadLastTurns = haveAllCompleted;
            if (WindowCount == 0)
                return;
            ActivateForWhatIsReady();
            if (hadLastTurns)
                RefuseCallsToIdle(ExpectedEnd().ToRefusal());
            await WaitAsync(_isOutputFull ? StageActivity.WaitingForOutput : StageActivity.Working, _isOutputFull ? _output : null).ConfigureAwait(false);
            BeginWork();
        }
    }

    protected override async ValueTask ReturnAllAsync()
    {
        _window.RemoveRange(0, _head);
        _head = 0;

        // What will not start is settled before the wait for what has, which may never end.
        _window.RemoveAll(work =>
        {
            if (!work.TryGiveUp())
                return false;
            if (!work.IsCheckpoint)
                _input.Discard(work.Item, ReasonToDiscard);
            return true;
        });
        foreach (WorkItem<TIn, TOut> work in _window)
            work.Refuse();
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            if (worker.Current is not null)
                worker.Cancel();
        }

        // What is left behind is waited for all the same, because it uses the instances, which are freed when this returns.
        while (_window.Exists(static w => !w.IsDone))
        {
            RefuseCallsToIdle(ExpectedEnd().ToRefusal());
            if (_isLeftBehind)
                Abandon();
            await WaitAsync(StageActivity.Working).ConfigureAwait(false);
        }

        if (IsAbandoned)
            return;

        foreach (WorkItem<TIn, TOut> work in _window)
        {
            if (work.IsCheckpoint)
            {
                if (work.Fate is { Kind: FateKind.Failed, Error: { } error and not OperationCanceledException })
                    Graph.AddSecondary(new StageFaultedException(Name, error));
            }
            else
            {
                // It lost to a lower item, but what it threw is worth knowing.
                if (work.Fate is { Kind: FateKind.Failed, Error: { } lost })
                    Graph.AddSecondary(new StageFaultedException(Name, lost, work.Number, work.Fate.Attempt));
                DiscardInWork(work.Item, ReasonToDiscard);
                _input.Release(1);
            }

            work.Forget();
        }

        _window.Clear();
    }

    /// <summary>Who has nothing in work gets no turn any more. Those who have may wait for its answers, so it refuses at once.</summary>
    private void RefuseCallsToIdle(CommandRefusal refusal)
    {
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            if (!worker.IsActive && !worker.HasCheckpoint)
                worker.Control.Lane.Close(refusal);
        }
    }

    protected override async ValueTask EndAsync(RunState outcome, Exception? cause)
    {
        List<Exception> errors = [];
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            try
            {
                await worker.Control.EndLeasesAsync().ConfigureAwait(false);
                await worker.Handler.EndAsync(outcome, cause).ConfigureAwait(false);
            }
            catch (Exception error)
            {
                errors.Add(error);
            }
        }

        foreach (Exception error in errors)
            Graph.AddSecondary(new StageFaultedException(Name, error));
    }

    protected override void OnEnding(EndMarker marker)
    {
        foreach (InstanceControl control in _controls)
            control.Lane.Close(marker.ToRefusal());
    }

    protected override void CleanUp()
    {
        foreach (PoolInstance<TIn, TOut> worker in _workers)
            worker.Dispose();
    }

    /// <summary>Passes on what is ready and settles what is done: in order only the head, else any.</summary>
    private async ValueTask SettleAsync()
    {
        _isOutputFull = false;
        bool dropsOrder = _lowestFailure.IsSet && Graph.Options.FaultMode == FaultMode.Abort;
        Array.Clear(_isBehind);
        for (int i = _head; i < _window.Count; i++)
        {
            WorkItem<TIn, TOut> work = _window[i];

            // The items of a key keep their order: one that was not done when it was looked at holds up those behind it.
            if (_partition is not null && work.Instance is >= 0 and var key && !IsOrdered && _isBehind[key])
                continue;

            // Looked at once, and before the outputs: an instance may emit and return in between, and that output would be lost.
            bool isDone = work.IsDone;
            bool isFailed = isDone && work.Fate.Kind == FateKind.Failed;
            if (dropsOrder && !isFailed)
                continue;
            bool isSettled = (dropsOrder || PassOutputs(work)) && isDone;
            if (isSettled)
            {
                RemoveAt(ref i);
                if (work.IsCheckpoint)
                {
                    if (isFailed)
                        Fail(work.Fate.Error!);
                }
                else
                {
                    await this.SettleAsync(_input, work.Item, work.Number, work.Fate).ConfigureAwait(false);
                }

                Recycle(work);
                if (IsDiscarding)
                    return;
            }
            else if (IsOrdered || _isOutputFull)
            {
                return;
            }
            else if (work.Instance >= 0)
            {
                _isBehind[work.Instance] = true;
            }
        }
    }

    private void RemoveAt(ref int index)
    {
        if (index == _head)
        {
            _window[_head++] = null!;
            if (_head > 64 && _head * 2 > _window.Count)
            {
                _window.RemoveRange(0, _head);
                index -= _head;
                _head = 0;
            }
        }
        else
        {
            _window.RemoveAt(index--);
        }
    }

    /// <returns>False when outputs remain because the next link is full.</returns>
    private bool PassOutputs(WorkItem<TIn, TOut> work)
    {
        if (_output is null)
            return true;
        while (work.TryPeek(out TOut value))
        {
            if (!_output.TryWrite(value))
            {
                _output.AskForSlot();
                if (!_output.TryWrite(value))
                {
                    _isOutputFull = true;
                    return false;
                }
            }

            if (work.Dequeue())
                return true;
        }

        return true;
    }

    // ---- Short items. ----------------------------------------------------------------------------------------------------------------

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

    // ----------------------------------------------------------------------------------------------------------------------------------

    private void HandOut()
    {
        // Only now: until here no item is started, however long the stream was held up.
        if (Has(Attention.Control))
            NoteCheckpoints();
        if (IsFinishing)
        {
            if (!MakesStream)
                DiscardReady();
            RefuseCallsToIdle(ExpectedEnd().ToRefusal());
            return;
        }

        // What is ready and comes before a failure is handled; what comes after it is given up with the stage.
        if (!_lowestFailure.IsSet)
        {
            GiveCheckpoints();
            if (_partition is null)
                ReadForAny();
            else
                ReadByKey(_partition);
        }

        ActivateForWhatIsReady();
        if (_lowestFailure.IsSet)
            RefuseCallsToIdle(new CommandRefusal(CommandFailure.StageEnded, "the stage ends with the failure of an item."));
    }

    private void ActivateForWhatIsReady()
    {
        // Those who are active see what is ready by themselves; of the others no more are needed than there are items.
        int unclaimed = _partition is null ? _workers[0].Ready.Count : 0;
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            if (worker.HasCheckpoint)
            {
                // Its turn may take long: it counts for none of the items.
                worker.Activate();
            }
            else if (_partition is null ? unclaimed > 0 && !worker.IsActive : !worker.Ready.IsEmpty)
            {
                worker.Activate();
                unclaimed--;
            }
        }
    }

    private void ReadForAny()
    {
        int free = _workers.Count(static w => !w.IsActive);
        ConcurrentQueue<WorkItem<TIn, TOut>> ready = _workers[0].Ready;
        for (int room = free + Volatile.Read(ref _readyAhead) - ready.Count; room > 0 && _input.TryRead(out TIn item); room--)
            ready.Enqueue(Add(item));
    }

    /// <summary>Gives items to the instances of their keys. A key that cannot be told is an error of the item.</summary>
    private void ReadByKey(Func<TIn, int> keyHash)
    {
        while (!_lowestFailure.IsSet && _input.TryRead(out TIn item))
        {
            int hash;
            try
            {
                hash = keyHash(item);
            }
            catch (Exception error)
            {
                // No instance is chosen, so there is nothing to retry on.
                CountStarted();
                WorkItem<TIn, TOut> failed = Add(item);
                failed.TryGiveUp();
                failed.EndWith(new Fate(AttemptRunner.FateOf(Options.ErrorPolicy.Verdict), error));
                continue;
            }

            int instance = (int)((uint)hash % (uint)_workers.Count);
            _workers[instance].Ready.Enqueue(Add(item, instance));
        }
    }

    /// <summary>A stage that finishes early handles no further item. Out of order, those that were started stay.</summary>
    private void DiscardReady()
    {
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            while (worker.Ready.TryDequeue(out WorkItem<TIn, TOut>? work))
            {
                bool isGivenUp = work.TryGiveUp();
                Debug.Assert(isGivenUp, "What nobody has taken out of the queue nobody has started.");
                _window.RemoveAt(_window.IndexOf(work, _head));
                _input.Discard(work.Item, DiscardReason.NoDemand);
                Recycle(work);
            }
        }
    }

    /// <summary>
    /// Gives the instances that are told something their turn for it, each before its next item. What it emits there comes, in order, before
    /// what is not started: that would otherwise wait for the instance, and the instance for it.
    /// </summary>
    private void GiveCheckpoints()
    {
        for (int i = 0; i < _workers.Count; i++)
        {
            if (_workers[i].IsCheckpointDue && !_workers[i].HasCheckpoint)
                GiveTurn(i);
        }
    }

    private void GiveTurn(int instance, bool isCompletion = false)
    {
        PoolInstance<TIn, TOut> worker = _workers[instance];
        worker.IsCheckpointDue = false;
        WorkItem<TIn, TOut> turn = Make(default!, isCheckpoint: true);
        turn.IsCompletion = isCompletion;
        turn.Instance = _partition is null ? -1 : instance;
        InsertCheckpoint(turn);
        worker.Give(turn);
    }

    /// <summary>Puts a turn before all that is not started, but behind what its instance has started.</summary>
    private void InsertCheckpoint(WorkItem<TIn, TOut> turn)
    {
        int next = _window.FindIndex(_head, static w => !w.IsStarted);
        _window.Insert(Math.Max(next < 0 ? _window.Count : next, LastStarted(turn.Instance) + 1), turn);
    }

    /// <summary>
    /// An instance may have started an item while its turn was put before it: the item would wait for the turn, and the turn for the instance.
    /// It stays before what its instance has not started, for the same reason.
    /// </summary>
    private void MoveCheckpointsBehindWhatIsStarted()
    {
        if (!_workers.Exists(static w => w.HasCheckpoint))
            return;
        for (int i = _window.Count - 1; i >= _head; i--)
        {
            WorkItem<TIn, TOut> work = _window[i];
            if (!work.IsCheckpoint || work.IsStarted)
                continue;
            int last = LastStarted(work.Instance);
            if (last < i)
                continue;
            _window.Insert(last + 1, work);
            _window.RemoveAt(i);
        }
    }

    /// <summary>The place of the last started one of those that the instance may take, or any instance; negative when there is none.</summary>
    private int LastStarted(int instance)
    {
        for (int i = _window.Count - 1; i >= _head; i--)
        {
            if (_window[i].IsStarted && _window[i].Instance == instance)
                return i;
        }

        return -1;
    }

    private WorkItem<TIn, TOut> Add(TIn item, int instance = -1)
    {
        WorkItem<TIn, TOut> work = Make(item, isCheckpoint: false);
        work.Instance = instance;
        _window.Add(work);
        return work;
    }

    private WorkItem<TIn, TOut> Make(TIn item, bool isCheckpoint)
    {
        WorkItem<TIn, TOut> work = Spare();
        work.Take(item, isCheckpoint ? _number : ++_number, isCheckpoint, base.WorkingSince);
        return work;
    }

    private WorkItem<TIn, TOut> Spare() =>
        _spares.TryPop(out WorkItem<TIn, TOut>? work) ? work : new(this, _lowestFailure.Note, Math.Min(_output?.Capacity ?? 1, 64), _isOneToOne);

    private void Recycle(WorkItem<TIn, TOut> work)
    {
        work.Forget();
        _spares.Push(work);
    }

    private void NoteCheckpoints()
    {
        Clear(Attention.Control);
        foreach (PoolInstance<TIn, TOut> worker in _workers)
            worker.IsCheckpointDue |= worker.Control.IsCheckpointDue;
    }

    private void CancelHigherThanFailure()
    {
        if (!_lowestFailure.IsSet)
            return;
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            if (worker.Current is { IsDone: false } work && work.Number > LowestFailure)
            {
                work.Refuse();
                worker.Cancel();
            }
        }
    }

    private static Emitter<TOut> NoEmitter => (Emitter<TOut>)(object)NullEmitter.Instance;

    /// <summary>One for all instances, which start one after another, while the stream writes nothing; null without an output.</summary>
    private LinkEmitter<TOut>? DirectEmitter() => _output is null ? null : new LinkEmitter<TOut>(this, _output);
}
