using System.Collections.Concurrent;
using System.Diagnostics;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>
/// A stage with several instances. Its stream alone reads the input, makes items ready for instances, and writes and settles what they
/// made, in the order of the input or as it comes. Instances run on the thread pool and touch nothing but their work item; but of
/// short items an instance lets the stream go on on its own thread, and of very short ones the stream lends it its baton.
/// </summary>
/// <remarks>
/// Who takes an item out of the input takes it from whoever is free later; so the stream makes no more items ready than there are free
/// instances, as long as items take their time. Of short ones it makes more ready (<see cref="Pace"/>), so that neither of the
/// two waits for the other after each of them. By key it takes out all there is: whose an item is it knows only then.
/// </remarks>
internal sealed partial class PoolStage<TIn, TOut> : StageNode, IControlledStage
{
    private readonly Func<ItemHandler<TIn, TOut>> _makeHandler;
    private readonly Func<TIn, int>? _partition;
    private readonly bool _isOneToOne;
    private readonly InstanceControl[] _controls;

    // All fields belong to the stage's stream, or who has its baton, but for those that say otherwise.
    private readonly Stack<WorkItem<TIn, TOut>> _spares = [];
    private readonly PoolWindow<TIn, TOut> _window = new();

    // Filled by the start, before an item is read; read by any thread then.
    private readonly List<PoolInstance<TIn, TOut>> _workers = [];

    private Link<TIn> _input = null!;
    private Link<TOut>? _output;
    private long _number;
    private bool _isOutputFull;

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

    // How long items take. Written by the instances, read by them and the stream.
    private Pace _pace;

    // Whether items are lost, or the run fails, when a writer finds no slot. Set by the start, read by any thread.
    private bool _isLossy;

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

    /// <summary>How long items take.</summary>
    public ref Pace Pace => ref _pace;

    /// <summary>How many items an instance may have done before the stream learns of them, and frees their slots; 0 when it learns of each.</summary>
    public int MostUntold => _isLossy ? 0 : _pace.MostUntold;

    // ----------------------------------------------------------------------------------------------------------------------------------

    /// <summary>Whether outputs wait for those of earlier items. When no items are left, they must not: their makers may wait for each other.</summary>
    private bool IsOrdered => Options.EnsureOrdered && !_isCompleting;

    /// <summary>Whether the outputs have an order that must not get a hole.</summary>
    private bool MakesStream => IsOrdered && _output is not null;

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

        _isLossy = Links.IsLossy;
        _input.StartedByInstances = () => _workers.Sum(static w => w.Started);
        DecideLending();

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
            if (ShouldLend)
            {
                // Nothing is in work: so whoever a baton was taken from before has learnt of that.
                if (_window.Count == 0 && _workers.TrueForAll(static w => !w.IsActive))
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
            Volatile.Write(ref _oldestSince, _window.Count > 0 ? _window.Oldest.Since : 0);
            if (IsFinishing ? _window.Count == 0 : _input.End is not null && !_window.HasItems)
                break;

            // In order, an item that will not be handled ends the stream: what comes after it is given up as well.
            if (IsFinishing && MakesStream && _window.Count > 0 && !_window.Oldest.IsStarted)
                return;

            // Of short items the next ones are done at once; who waits in the thread's queue may be the one that handles them.
            hasYielded = !hasYielded && !_isOutputFull && !Turn.IsKeeping(this) && _pace.IsShort;
            if (hasYielded)
            {
                await YieldAsync().ConfigureAwait(false);
                continue;
            }

            StageActivity activity = _isOutputFull ? StageActivity.WaitingForOutput
                : _window.Count == 0 ? StageActivity.WaitingForInput
                : Volatile.Read(ref _retrying) > 0 ? StageActivity.WaitingForRetry
                : StageActivity.Working;
            await WaitAsync(activity, _isOutputFull ? _output : null).ConfigureAwait(false);
            BeginWork();
        }

        if (!IsFinishing && !MustGiveUp)
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
            bool isOneCompleting = _window.Exists(static w => w.IsCompletion);
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
            if (_window.Count == 0)
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
        // What will not start is settled before the wait for what has, which may never end.
        _window.RemoveAll(work =>
        {
            if (!work.TryGiveUp())
                return false;
            if (!work.IsCheckpoint)
                _input.Discard(work.Item, ReasonToDiscard);
            return true;
        });
        foreach (WorkItem<TIn, TOut> work in _window.All)
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

        foreach (WorkItem<TIn, TOut> work in _window.All)
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
        for (int i = 0; i < _window.Count; i++)
        {
            WorkItem<TIn, TOut> work = _window[i];

            // The items of a key keep their order: one that was not done when it was looked at holds up those behind it.
            if (_partition is not null && work.Instance is >= 0 and var key && !IsOrdered && _isBehind[key])
                continue;

            // Looked at once, and before the outputs: an instance may emit and return in between, and that output would be lost.
            bool isDone = work.IsDone;
            bool isFailed = isDone && work.Fate.Kind == FateKind.Failed;
            isDone &= isFailed || !work.HasWaitingEmits;
            if (dropsOrder && !isFailed)
                continue;
            bool isSettled = (dropsOrder || PassOutputs(work)) && isDone;
            if (isSettled)
            {
                _window.RemoveAt(i--);
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

    /// <returns>False when outputs remain because the next link is full.</returns>
    private bool PassOutputs(WorkItem<TIn, TOut> work, Turn? turn = null)
    {
        if (_output is null)
            return true;
        while (work.TryPeek(out TOut value))
        {
            if (!_output.TryWrite(value, turn))
            {
                _output.AskForSlot();
                if (!_output.TryWrite(value, turn))
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
        // What is ready cannot be dropped any more.
        int ahead = _input.FullMode == FullMode.DropOldest ? 0 : _workers.Count * _pace.Ahead;
        int free = _workers.Count(static w => !w.IsActive && !w.HasCheckpoint);
        ConcurrentQueue<WorkItem<TIn, TOut>> ready = _workers[0].Ready;
        for (int room = free + ahead - ready.Count; room > 0 && _input.TryRead(out TIn item); room--)
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
                _input.CountReceived();
                WorkItem<TIn, TOut> failed = Add(item);
                failed.TryGiveUp();
                failed.EndWith(new Fate(AttemptRunner.FateOf(Options.ErrorPolicy.Verdict), error));
                Wake();
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
                _window.Remove(work);
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

    private void MoveCheckpointsBehindWhatIsStarted()
    {
        if (_workers.Exists(static w => w.HasCheckpoint))
            _window.MoveCheckpointsBehindWhatIsStarted();
    }

    private void GiveTurn(int instance, bool isCompletion = false)
    {
        PoolInstance<TIn, TOut> worker = _workers[instance];
        worker.IsCheckpointDue = false;
        WorkItem<TIn, TOut> turn = Make(default!, isCheckpoint: true);
        turn.IsCompletion = isCompletion;
        turn.Instance = _partition is null ? -1 : instance;
        _window.InsertCheckpoint(turn);
        worker.Give(turn);
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
