using System.Collections.Concurrent;
using System.Diagnostics;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>
/// One instance of a pool: takes one item after another from those that are ready, as long as there are any, and touches nothing but them. Of
/// short ones it tells the stream after several, and lets it go on on its thread.
/// </summary>
/// <remarks>
/// The stage's stream makes items ready and activates; the instance runs on the thread pool. What both touch says so. While it has the stream's
/// baton, the thread that has it is the instance.
/// </remarks>
internal sealed class PoolInstance<TIn, TOut> : IThreadPoolWorkItem, IDisposable
{
    /// <summary>After so many short items it looks at the time, when the stream learns of each.</summary>
    private const int ItemsPerLook = 16;

    /// <summary>How long it keeps its thread from others, in timestamps: 100 microseconds, or one item.</summary>
    private static readonly long s_turn = TimeProvider.System.TimestampFrequency / 10_000;

    /// <summary>The same when the stage's stream goes on on this thread, too: a millisecond.</summary>
    private static readonly long s_sharedTurn = TimeProvider.System.TimestampFrequency / 1000;

    private readonly PoolStage<TIn, TOut> _stage;
    private readonly CancellationTokenSource _source;
    private readonly StageContext _context;

    // What others do in its place, when user code keeps its thread.
    private readonly Action _tellStream;
    private readonly Action _goOnElsewhere;

    // Outlives its source: an instance may look at what is ready once more when the stage has ended.
    private readonly CancellationToken _token;

    // What its code emits to between two items.
    private readonly ClosedEmitter<TOut> _between;

    // Handed over by the stream, taken by the instance.
    private WorkItem<TIn, TOut>? _checkpoint;

    // Written by the instance, read by the stream. While it has the baton, the item that it uses for one after another.
    private WorkItem<TIn, TOut>? _current;

    // Set by an exchange: by the stream, which then queues the instance, by the instance that finds more to do, or by who lends the baton to
    // it. Cleared by the instance.
    private int _isActive;

    // Written by the instance, read by any thread.
    private long _started;

    public PoolInstance(PoolStage<TIn, TOut> stage, ConcurrentQueue<WorkItem<TIn, TOut>> ready, ItemHandler<TIn, TOut> handler, InstanceControl control, StageContext context)
    {
        (_stage, Ready, Handler, Control, _context) = (stage, ready, handler, control, context);
        (_tellStream, _goOnElsewhere) = (stage.Wake, Queue);
        _between = new ClosedEmitter<TOut>(stage);
        Attempts = new AttemptRunner(stage, context);
        _source = CancellationTokenSource.CreateLinkedTokenSource(stage.DiscardToken);
        _token = _source.Token;
    }

    public ItemHandler<TIn, TOut> Handler { get; }

    public InstanceControl Control { get; }

    private AttemptRunner Attempts { get; }

    /// <summary>The items that it takes from, in order: its own, by their keys, or those of all instances.</summary>
    public ConcurrentQueue<WorkItem<TIn, TOut>> Ready { get; }

    /// <summary>How many items it has started in turns of its own. Any thread.</summary>
    public long Started => Volatile.Read(ref _started);

    /// <summary>The flow that all its work runs in, by which its own calls are known, and its trace goes on; null when there is neither.</summary>
    private ExecutionContext? Flow { get; set; }

    /// <summary>Whether any thread will do for it.</summary>
    public bool NeedsNoFlow => Flow is null;

    // ---- The stream's. ---------------------------------------------------------------------------------------------------------------

    /// <summary>Whether commands or a tick wait for it.</summary>
    public bool IsCheckpointDue { get; set; }

    /// <summary>Whether it has been given a turn for its commands and ticks that it has not taken.</summary>
    public bool HasCheckpoint => Volatile.Read(ref _checkpoint) is not null;

    /// <summary>Whether it takes items, or will soon. Whatever is made ready while it does, it sees.</summary>
    public bool IsActive => Volatile.Read(ref _isActive) != 0;

    /// <summary>The item in work, if there is one; it may be done by now.</summary>
    public WorkItem<TIn, TOut>? Current => Volatile.Read(ref _current);

    /// <summary>Starts the user code.</summary>
    public async ValueTask StartAsync(Emitter<TOut> output, CancellationToken discardToken)
    {
        Control.Lane.Enter();
        await Handler.StartAsync(_context, output, discardToken).ConfigureAwait(false);
        Handler.Redirect(_between);
        Control.Begin(Handler, _context, _token);
        if (Handler.HasCommands)
            Control.Lane.Enter();
        if (Handler.HasCommands || Activity.Current is not null)
            Flow = ExecutionContext.Capture();
    }

    /// <summary>Gives it a turn for its commands and ticks, before its next item.</summary>
    public void Give(WorkItem<TIn, TOut> checkpoint)
    {
        Debug.Assert(!HasCheckpoint, "One turn for commands at a time.");
        Volatile.Write(ref _checkpoint, checkpoint);
    }

    /// <summary>Makes it look at what is ready. After that was made ready.</summary>
    public void Activate()
    {
        // Full fence, like that of the queue into which the items were put: the instance either sees what is ready before it rests, or has
        // rested and is activated here.
        if (Interlocked.Exchange(ref _isActive, 1) == 0)
            Queue();
    }

    public void Cancel() => _stage.Graph.Own(_source.CancelAsync());

    public void Dispose()
    {
        _context.Ticks.End();
        Attempts.Dispose();
        Handler.Dispose();
        _source.Dispose();
    }

    // ---- The instance's. -------------------------------------------------------------------------------------------------------------

    private void Queue() => ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);

    void IThreadPoolWorkItem.Execute()
    {
        Turn? turn = Flow is null ? Turn.OfThread() : null;
        if (Flow is { } flow)
            ExecutionContext.Restore(flow); // the thread drops it again when this returns
        Run(turn);

        // It may have left the thread in the middle, with an item that waits.
        if (turn?.Pay() == true)
            _stage.Wake();
    }

    /// <summary>Handles what is ready. Of short items the stream learns after several, and goes on on this thread.</summary>
    /// <param name="turn">The turns of this thread; null when it is not for those of the stream.</param>
    private void Run(Turn? turn)
    {
        long begin = TimeProvider.System.GetTimestamp();
        ExecutionContext? flowOfThread = turn is null ? null : ExecutionContext.Capture();
        int handled = 0, untold = 0, mostUntold = 0;
        do
        {
            while (TryTake(out WorkItem<TIn, TOut>? work))
            {
                if (untold == 0 && turn is not null)
                {
                    mostUntold = _stage.MostUntold;
                    if (mostUntold > 0)
                        turn.Owe(_tellStream);
                }

                bool isCheckpoint = work.IsCheckpoint;
                ValueTask<Fate> handling = isCheckpoint ? CheckpointAsync(work.IsCompletion) : HandleAsync(work);
                if (!handling.IsCompleted)
                {
                    LeaveThreadWith(work, handling, begin, handled);
                    return;
                }

#pragma warning disable VSTHRD002 // It has completed, see above.
                Fate fate = handling.Result;
#pragma warning restore VSTHRD002
                Leave();
                work.EndWith(fate);
                handled++;
                if (mostUntold == 0)
                {
                    _stage.Wake();
                    if (_stage.Pace.IsShort && handled % ItemsPerLook != 0)
                        continue;
                }
                else if (++untold < mostUntold && !isCheckpoint && fate.Kind != FateKind.Failed && !Ready.IsEmpty && StillOwes(turn!))
                {
                    continue;
                }
                else
                {
                    untold = 0;
                    if (!TellHere(turn!, flowOfThread))
                        return;
                }

                long taken = TimeProvider.System.GetTimestamp() - begin;
                if (taken < s_turn)
                    continue;
                _stage.Pace.Note(taken / handled);
                if (mostUntold > 0 && taken < s_sharedTurn)
                    continue;

                // Others may want the thread, the stage's stream for one.
                Queue();
                return;
            }

            Interlocked.Exchange(ref _isActive, 0);
        }
        while (HasWork && Interlocked.Exchange(ref _isActive, 1) == 0);

        if (handled > 0)
            _stage.Pace.Note((TimeProvider.System.GetTimestamp() - begin) / handled);

        // It is free now, which the stream may have waited for.
        _stage.Wake();
    }

    /// <summary>Whether nobody has told the stream in its place.</summary>
    private static bool StillOwes(Turn turn)
    {
        // Behind the end of the item. Either this sees that the watch has told the stream, or the watch tells it later, and it sees that end.
        Interlocked.MemoryBarrier();
        return turn.Owes;
    }

    /// <summary>Tells the stream what was done, and lets it go on on this thread.</summary>
    /// <returns>False when it was kept there: the instance has gone on on another thread.</returns>
    private bool TellHere(Turn turn, ExecutionContext? flow)
    {
        // What user code has left in the flow is not for others. It may hear of that, so the stream is not told before.
        if (flow is not null)
            ExecutionContext.Restore(flow);

        // By the watch or not: it is told now.
        turn.Pay();
        return _stage.WakeHere(turn, _goOnElsewhere);
    }

    // Looked at after it rests: whoever lets items in again, or makes some ready, activates it after that.
    private bool HasWork => HasCheckpoint || (!_stage.IsHeld && !Ready.IsEmpty);

    private bool TryTake([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out WorkItem<TIn, TOut>? work)
    {
        if (HasCheckpoint && (work = Interlocked.Exchange(ref _checkpoint, null)) is not null)
        {
            Volatile.Write(ref _current, work);
            if (work.TryStart(_token))
            {
                Handler.Redirect(work);
                return true;
            }
        }

        while (!_stage.IsHeld && Ready.TryDequeue(out work))
        {
            // What comes after a failure is given up; whoever has it in the window sees that it was never started. The exchange is a full
            // fence: either the failure is seen here, or the stream, which looks at what is in work after a failure, sees the item.
            Interlocked.Exchange(ref _current, work);
            if (work.Number > _stage.LowestFailure || !work.TryStart(_token))
                continue;
            Volatile.Write(ref _started, _started + 1);
            Handler.Redirect(work);
            return true;
        }

        Volatile.Write(ref _current, null);
        work = null;
        return false;
    }

    private void Leave()
    {
        Volatile.Write(ref _current, null);
        Handler.Redirect(_between);
    }

    // ---- Of the thread that has the stream's baton. ----------------------------------------------------------------------------------

    /// <summary>From here on it is active, and its outputs go to this item, which is used for one after another.</summary>
    /// <returns>False when it is not at rest: it may have found more to do just then, and sees by itself that somebody else did that.</returns>
    public bool TryOccupy(WorkItem<TIn, TOut> work)
    {
        if (Interlocked.Exchange(ref _isActive, 1) != 0)
            return false;
        Volatile.Write(ref _current, work);
        Handler.Redirect(work);
        return true;
    }

    /// <summary>Starts an item.</summary>
    public void StartInTurn(WorkItem<TIn, TOut> work) => work.StartAlone(_token);

    /// <summary>It is free again.</summary>
    public void Vacate()
    {
        Leave();
        Volatile.Write(ref _isActive, 0);
    }

    // ---- In either turn. -------------------------------------------------------------------------------------------------------------

    /// <summary>Goes on by itself with an item that waits, and then with others in a turn of its own: who ends the wait may be user code, which must not carry them.</summary>
    /// <param name="work">The item.</param>
    /// <param name="handling">Ends with its wait.</param>
    /// <param name="begin">When the turn began, in timestamps.</param>
    /// <param name="before">How many items the turn had before this one.</param>
    public void LeaveThreadWith(WorkItem<TIn, TOut> work, ValueTask<Fate> handling, long begin, long before) =>
        _stage.Graph.Own(GoOnAsync(work, handling, begin, before));

    private async Task GoOnAsync(WorkItem<TIn, TOut> work, ValueTask<Fate> handling, long begin, long before)
    {
        Fate fate = await handling.ConfigureAwait(false);
        Leave();
        work.EndWith(fate);
        _stage.Pace.Note((TimeProvider.System.GetTimestamp() - begin) / (before + 1));
        _stage.Wake();
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: true);
    }

    /// <summary>Runs the user code for an item, in a turn of its own or of the stream.</summary>
    public ValueTask<Fate> HandleAsync(WorkItem<TIn, TOut> work) =>
        Attempts.HandleAsync<TIn, TOut, WorkItem<TIn, TOut>>(Handler, work.Item, work.Number, work, _token);

    private async ValueTask<Fate> CheckpointAsync(bool isCompletion)
    {
        try
        {
            await Control.CheckpointAsync().ConfigureAwait(false);
            if (isCompletion)
            {
                _token.ThrowIfCancellationRequested();

                // It still answers commands afterwards, but does nothing by itself.
                _context.Ticks.End();
                await Handler.CompletedAsync(_token).ConfigureAwait(false);
            }

            return new Fate(FateKind.Delivered);
        }
        catch (Exception error)
        {
            return new Fate(FateKind.Failed, error);
        }
    }
}
