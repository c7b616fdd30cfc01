using System.Diagnostics;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>
/// A stage with several instances. Its stream alone reads the input, hands items to instances, and writes and settles what they made,
/// in the order of the input or as it comes. Instances run on the thread pool and touch nothing but their work item.
/// </summary>
internal sealed class PoolStage<TIn, TOut> : StageNode, IControlledStage
{
    private readonly Func<ItemHandler<TIn, TOut>> _makeHandler;
    private readonly Func<TIn, int>? _partition;
    private readonly bool _isOneToOne;
    private readonly InstanceControl[] _controls;

    // All fields belong to the stage's stream but for those that say otherwise.
    private readonly List<PoolInstance<TIn, TOut>> _workers = [];
    private readonly Stack<WorkItem<TIn, TOut>> _spares = [];
    private readonly List<WorkItem<TIn, TOut>> _window = [];
    private Link<TIn> _input = null!;
    private Link<TOut>? _output;
    private long _number;
    private int _head;
    private bool _isOutputFull;

    // When the burst was taken that the oldest item of the window came with; 0 while there is none. Written by the stream, read by anyone.
    private long _oldestSince;

    // How many instances wait for their next attempt. They change it, the stream reads it.
    private int _retrying;

    // Set by the timer that found a handler which does not return; the stream then leaves the stage behind.
    private volatile bool _isLeftBehind;

    // The lowest item that failed for good; instances lower it, the stream reads it before it hands out an item.
    private long _lowestFailure = long.MaxValue;

    /// <param name="setup">What the stage is made from.</param>
    /// <param name="makeHandler">Makes the user code of one instance.</param>
    /// <param name="partition">The hash code of an item's key, which chooses the instance; null lets any free one take it.</param>
    /// <param name="isOneToOne">Whether each item makes exactly one output, as the last thing that its handler does.</param>
    public PoolStage(StageSetup setup, Func<ItemHandler<TIn, TOut>> makeHandler, Func<TIn, int>? partition, bool isOneToOne)
        : base(setup)
    {
        (_makeHandler, _partition, _isOneToOne) = (makeHandler, partition, isOneToOne);
        CallWatch watch = this.MakeWatch();
        _controls = [.. Enumerable.Range(0, Options.MaxDegreeOfParallelism).Select(i => this.MakeControl(watch, i))];
        Instances = [.. _controls.Select(static c => new InstanceTarget(c))];
    }

    public IReadOnlyList<ControlTarget> Instances { get; }

    private bool IsOrdered => Options.EnsureOrdered;

    /// <summary>Whether the outputs have an order that must not get a hole.</summary>
    private bool MakesStream => IsOrdered && _output is not null;

    private int WindowCount => _window.Count - _head;

    public override long WorkingSince => Volatile.Read(ref _oldestSince) is > 0 and var oldest ? oldest : base.WorkingSince;

    public override void OnRetryWait(DateTimeOffset? due)
    {
        Interlocked.Add(ref _retrying, due is null ? -1 : 1);

        // What the stage waits for is shown by its stream.
        Wake();
    }

    /// <summary>The stream reads the input although a handler does not return, so it alone may shut it.</summary>
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
        for (int i = 0; i < Options.MaxDegreeOfParallelism; i++)
        {
            StageContext context = this.MakeContext(i);
            var worker = new PoolInstance<TIn, TOut>(_makeHandler(), _controls[i], context, new AttemptRunner(this, context), DiscardToken);
            try
            {
                await worker.StartAsync(DirectEmitter(), DiscardToken).ConfigureAwait(false);
            }
            catch
            {
                // What has not started is not ended either.
                worker.Dispose();
                throw;
            }

            _workers.Add(worker);
        }
    }

    protected override async Task RunAsync()
    {
        while (true)
        {
            if (NeedsAttention)
            {
                if (IsDiscarding)
                    return;
                if (Has(Attention.Control))
                    NoteCheckpoints();
            }

            await SettleAsync().ConfigureAwait(false);
            if (IsDiscarding)
                return;
            CancelHigherThanFailure();
            HandOut();
            Volatile.Write(ref _oldestSince, WindowCount > 0 ? _window[_head].Since : 0);
            if (WindowCount == 0 && (IsFinishing || _input.End is not null))
                break;

            // In order, an item that will not be handled ends the stream: what comes after it is given up as well.
            if (IsFinishing && MakesStream && WindowCount > 0 && !_window[_head].IsStarted)
                return;

            StageActivity activity = _isOutputFull ? StageActivity.WaitingForOutput
                : WindowCount == 0 ? StageActivity.WaitingForInput
                : Volatile.Read(ref _retrying) > 0 ? StageActivity.WaitingForRetry
                : StageActivity.Working;
            await WaitAsync(activity, _isOutputFull ? _output : null).ConfigureAwait(false);
            BeginWork();
        }

        if (IsFinishing)
            return;
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            worker.Handler.Redirect(DirectEmitter());
            await worker.CompletedAsync(DiscardToken).ConfigureAwait(false);
        }
    }

    protected override async ValueTask ReturnAllAsync()
    {
        _window.RemoveRange(0, _head);
        _head = 0;

        // What will not start is settled before the wait for what has, which may never end.
        foreach (WorkItem<TIn, TOut> work in _window.Where(static w => !w.IsStarted))
            _input.Discard(work.Item, ReasonToDiscard);
        _window.RemoveAll(static w => !w.IsStarted);
        foreach (WorkItem<TIn, TOut> work in _window)
            work.Refuse();
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            worker.Waiting.Clear();
            if (worker.Current is { IsDone: false })
                worker.Cancel(this);
        }

        while (_workers.Exists(static w => w.Current is { IsDone: false }))
        {
            if (_isLeftBehind)
            {
                Abandon();
                return;
            }

            await WaitAsync(StageActivity.Working).ConfigureAwait(false);
        }

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
        bool dropsOrder = Volatile.Read(ref _lowestFailure) != long.MaxValue && Graph.Options.FaultMode == FaultMode.Abort;
        for (int i = _head; i < _window.Count; i++)
        {
            WorkItem<TIn, TOut> work = _window[i];

            // Looked at once, and before the outputs: an instance may emit and return in between, and that output would be lost.
            bool isDone = work.IsDone;
            bool isFailed = isDone && work.Fate.Kind == FateKind.Failed;
            if (dropsOrder && !isFailed)
                continue;
            bool isSettled = (dropsOrder || PassOutputs(work)) && isDone;
            if (isSettled)
            {
                RemoveAt(ref i);
                if (!work.IsCheckpoint)
                    await this.SettleAsync(_input, work.Item, work.Number, work.Fate).ConfigureAwait(false);
                else if (isFailed)
                    Fail(work.Fate.Error!);
                Recycle(work);
                if (IsDiscarding)
                    return;
            }
            else if (IsOrdered || _isOutputFull)
            {
                return;
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

            work.Dequeue();
        }

        return true;
    }

    private void HandOut()
    {
        if (IsFinishing)
        {
            if (!MakesStream)
                DiscardWaiting();
            return;
        }

        long lowestFailure = Volatile.Read(ref _lowestFailure);
        if (lowestFailure != long.MaxValue)
        {
            // What waits for the instance of its key comes before the failure or is given up with it.
            foreach (PoolInstance<TIn, TOut> worker in _workers)
                StartNext(worker, lowestFailure);
            return;
        }

        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            Reap(worker);
            if (worker is { Current: null, IsCheckpointDue: true })
            {
                worker.IsCheckpointDue = false;
                Start(worker, Enqueue(default!, isCheckpoint: true));
            }
        }

        if (_partition is not null)
        {
            while (Volatile.Read(ref _lowestFailure) == long.MaxValue && _input.TryRead(out TIn item))
                AddByKey(item, _partition);
            foreach (PoolInstance<TIn, TOut> worker in _workers)
                StartNext(worker);
            return;
        }

        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            if (worker.Current is null)
            {
                if (!_input.TryRead(out TIn item))
                    return;
                Start(worker, Enqueue(item, isCheckpoint: false));
            }
        }
    }

    /// <summary>Gives an item to the instance of its key. A key that cannot be told is an error of the item.</summary>
    private void AddByKey(TIn item, Func<TIn, int> keyHash)
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
            Enqueue(item, isCheckpoint: false).EndWith(new Fate(AttemptRunner.FateOf(Options.ErrorPolicy.Verdict), error));
            return;
        }

        PoolInstance<TIn, TOut> worker = _workers[(int)((uint)hash % (uint)_workers.Count)];
        worker.Waiting.Enqueue(Enqueue(item, isCheckpoint: false));
    }

    private static void Reap(PoolInstance<TIn, TOut> worker)
    {
        if (worker.Current is { IsDone: true })
            worker.Current = null;
    }

    private void StartNext(PoolInstance<TIn, TOut> worker, long below = long.MaxValue)
    {
        Reap(worker);
        if (worker.Current is null && worker.Waiting.TryPeek(out WorkItem<TIn, TOut>? next) && next.Number < below)
            Start(worker, worker.Waiting.Dequeue());
    }

    /// <summary>A stage that finishes early handles no further item, also none that waits for the instance of its key. Out of order, the others stay.</summary>
    private void DiscardWaiting()
    {
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            while (worker.Waiting.TryDequeue(out WorkItem<TIn, TOut>? work))
            {
                _window.RemoveAt(_window.IndexOf(work, _head));
                _input.Discard(work.Item, DiscardReason.NoDemand);
                Recycle(work);
            }
        }
    }

    private WorkItem<TIn, TOut> Enqueue(TIn item, bool isCheckpoint)
    {
        if (!_spares.TryPop(out WorkItem<TIn, TOut>? work))
            work = new WorkItem<TIn, TOut>(this, NoteFailure, Math.Min(_output?.Capacity ?? 1, 64), _isOneToOne);
        work.Take(item, isCheckpoint ? _number : ++_number, isCheckpoint, base.WorkingSince);
        _window.Add(work);
        return work;
    }

    private void Start(PoolInstance<TIn, TOut> worker, WorkItem<TIn, TOut> work)
    {
        Debug.Assert(worker.Current is null, "An instance handles one item at a time.");
        if (!work.IsCheckpoint)
            _input.CountReceived();
        worker.Current = work;
        worker.Handler.Redirect(work);
        work.Start(worker, worker.Token);
    }

    private void Recycle(WorkItem<TIn, TOut> work)
    {
        // The worker may still point at it.
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            if (worker.Current == work)
                worker.Current = null;
        }

        work.Forget();
        _spares.Push(work);
    }

    private void NoteCheckpoints()
    {
        Clear(Attention.Control);
        foreach (PoolInstance<TIn, TOut> worker in _workers)
            worker.IsCheckpointDue |= worker.Control.IsCheckpointDue;
    }

    /// <summary>Called by an instance whose item failed for good, before it is done.</summary>
    private void NoteFailure(long number)
    {
        long lowest = Volatile.Read(ref _lowestFailure);
        while (number < lowest)
        {
            long seen = Interlocked.CompareExchange(ref _lowestFailure, number, lowest);
            if (seen == lowest)
                return;
            lowest = seen;
        }
    }

    private void CancelHigherThanFailure()
    {
        long lowest = Volatile.Read(ref _lowestFailure);
        if (lowest == long.MaxValue)
            return;
        foreach (PoolInstance<TIn, TOut> worker in _workers)
        {
            if (worker.Current is { IsDone: false } work && work.Number > lowest)
            {
                work.Refuse();
                worker.Cancel(this);
            }
        }
    }

    private Emitter<TOut> DirectEmitter() => _output is null ? (Emitter<TOut>)(object)NullEmitter.Instance : new LinkEmitter<TOut>(this, _output);
}
