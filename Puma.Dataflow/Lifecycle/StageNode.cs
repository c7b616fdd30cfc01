using Microsoft.Extensions.Logging;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Lifecycle;

/// <summary>
/// One stage of a run: a node of the completion graph and one execution stream that reads its input links and writes its output links.
/// </summary>
/// <remarks>
/// The stream itself (<see cref="ExecuteAsync"/> and all that it calls) is the only one that touches the stage's items. Everything that
/// comes from outside is a bit in <see cref="_attention"/> and a wake-up; the stream looks at the bits before each item.
/// </remarks>
internal abstract class StageNode(StageSetup setup) : ILinkEnd
{
    [Flags]
    protected enum Attention
    {
        None = 0,

        /// <summary>A source ends as soon as it can; everything that was emitted stays.</summary>
        Stop = 1,

        /// <summary>The stage ends early, as completed; its inputs are told that nobody wants more.</summary>
        Finish = 2,

        /// <summary>Something waits in the control lane.</summary>
        Control = 4,

        /// <summary>The stage gives up what it holds.</summary>
        Discard = 8,
    }

    private readonly Lock _gate = new();
    private readonly Wakeup _wakeup = new();
    private readonly ActivityClock _activity = new(setup.Graph.Time);
    private readonly CancellationTokenSource _discarding = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _outcome = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Bits are set by any thread; Control is cleared by the stream, the others never.
    private int _attention;

    // Guarded by _gate: first writer wins.
    private DiscardReason _discardReason;
    private StageFaultedException? _failure;
    private bool _hasEnded;
    private StageReport? _finalReport;

    private int _hasReportedStart;
    private int _hasToldEnding;
    private long _workingSince = setup.Graph.Time.GetTimestamp();

    public string Name => setup.Name;

    public string Kind => setup.Kind;

    public StageOptions Options => setup.Options;

    public CompletionGraph Graph => setup.Graph;

    /// <summary>The links that this stage reads, by port. Set before the run starts.</summary>
    public Link[] Inputs { get; set; } = [];

    /// <summary>The links that this stage writes, by port. Set before the run starts.</summary>
    public Link[] Outputs { get; set; } = [];

    /// <summary>The link to the dead-letter stage, if the error policy has one. Not an output: it does not count as emitted.</summary>
    public Link? DeadLetters { get; set; }

    /// <summary>The innermost optional branch that the stage is in.</summary>
    public OptionalScope? Scope { get; set; }

    public StageCounters Counters { get; } = new();

    public StageState State { get; private set; }

    public EndReason EndReason { get; private set; }

    /// <summary>The failure of this stage itself, or the one that reached it.</summary>
    public StageFaultedException? Cause { get; private set; }

    public StageActivity Activity => _activity.Now;

    /// <summary>The link whose full slots the stage waits for, while it does.</summary>
    public Link? WaitsFor { get; private set; }

    /// <summary>When the burst was taken that the oldest item in work came with.</summary>
    public virtual long WorkingSince => Volatile.Read(ref _workingSince);

    public bool IsAbandoned { get; private set; }

    /// <summary>Whether the counting rules hold inside the stage; not for foreign blocks.</summary>
    public virtual bool KeepsLedger => true;

    /// <summary>Whether the stage has no inputs and ends by being asked to.</summary>
    public virtual bool IsSource => false;

    public virtual long Restarts => 0;

    /// <summary>Ends when the stage has ended, whatever way; never faults.</summary>
    public Task Completion => _completion.Task;

    /// <summary>The same end with its outcome: faulted, cancelled or completed. Its exception is observed already.</summary>
    public Task Outcome => _outcome.Task;

    /// <summary>Fires when the stage gives up what it holds.</summary>
    public CancellationToken DiscardToken => _discarding.Token;

    /// <summary>Fires when a source is asked to end, and when the stage gives up what it holds.</summary>
    public CancellationToken StopToken => _stopping.Token;

    public ILogger Logger { get; } = setup.Graph.CreateLogger(setup.Name);

    protected TimeProvider Time => Graph.Time;

    public bool IsDiscarding => Has(Attention.Discard);

    public bool IsStopping => (Volatile.Read(ref _attention) & (int)(Attention.Stop | Attention.Finish | Attention.Discard)) != 0;

    protected bool IsFinishing => Has(Attention.Finish);

    /// <summary>Whether the stream must look at its bits before the next item.</summary>
    public bool NeedsAttention => Volatile.Read(ref _attention) != 0;

    /// <summary>Why an item in work is given up now.</summary>
    public DiscardReason ReasonToDiscard => _discardReason != DiscardReason.None ? _discardReason : IsFinishing ? DiscardReason.NoDemand : DiscardReason.Faulted;

    // ---- What others ask of the stage. Any thread. -------------------------------------------------------------------------------

    public virtual void Wake() => _wakeup.Set();

    /// <summary>The reader of one of the outputs wants no more; when none does, the stage has no reason to go on.</summary>
    public virtual void OnReaderClosed()
    {
        if (Outputs.Length > 0 && Array.TrueForAll(Outputs, static o => o.IsShut))
            RaiseDiscard(DiscardReason.NoDemand);
    }

    /// <summary>Asks a source or entry for no more input. Other stages end when their inputs do.</summary>
    public void RaiseStop()
    {
        if (!IsSource)
            return;
        Raise(Attention.Stop);
        Graph.Own(_stopping.CancelAsync());
        OnStop();
    }

    /// <summary>Asks the stage to end early, as completed.</summary>
    public void RaiseFinish()
    {
        Raise(Attention.Finish);
        if (IsSource)
        {
            Graph.Own(_stopping.CancelAsync());
            OnStop();
        }
    }

    /// <summary>Says that something waits in the control lane.</summary>
    public void RaiseControl() => Raise(Attention.Control);

    /// <summary>When the next attempt at an item is due, while the stage waits for it.</summary>
    public DateTimeOffset RetryDue { get; private set; }

    /// <summary>Shows that an instance waits until it may try an item again, or waits no longer.</summary>
    /// <param name="due">When it may; null when the wait is over.</param>
    public virtual void OnRetryWait(DateTimeOffset? due)
    {
        if (due is { } time)
            RetryDue = time;
        SetActivity(due is null ? StageActivity.Working : StageActivity.WaitingForRetry);
    }

    /// <summary>Tells the stage to give up what it holds.</summary>
    public void RaiseDiscard(DiscardReason reason)
    {
        if (TryDecideDiscard(reason))
            RaiseDecided();
    }

    /// <summary>Decides that the stage will give up what it holds; <see cref="RaiseDecided"/> must follow.</summary>
    /// <returns>False when that, or another end, was decided before.</returns>
    public bool TryDecideDiscard(DiscardReason reason) => TryDecideEnd(reason, failure: null);

    private bool TryDecideEnd(DiscardReason reason, StageFaultedException? failure)
    {
        lock (_gate)
        {
            if (_hasEnded || _discardReason != DiscardReason.None)
                return false;
            _discardReason = reason;
            _failure = failure;
            return true;
        }
    }

    /// <summary>Tells the stage what was decided of it.</summary>
    public void RaiseDecided()
    {
        Raise(Attention.Discard);
        Graph.Own(_stopping.CancelAsync());
        Graph.Own(_discarding.CancelAsync());
        OnStop();

        // Who writes to this stage need not wait until its user code has returned. An optional branch is left behind in this way.
        foreach (Link input in Inputs)
            input.Refuse();
    }

    /// <summary>Makes the stage itself the place of a failure.</summary>
    public void Fail(Exception error, long? itemNumber = null, int attempt = 0)
    {
        // Cancellation is only an echo when our own token has fired; any other is a failure like all others.
        if (error is OperationCanceledException && (IsDiscarding || (IsSource && IsStopping)))
            return;
        var fault = new StageFaultedException(Name, error, itemNumber, attempt);
        if (!TryDecideEnd(DiscardReason.Faulted, fault))
        {
            Graph.AddSecondary(fault);
            return;
        }

        // First the stages upstream learn why, then this one ends: it would tell them that nobody wants their output.
        Graph.OnStageFaulted(this, fault);
        RaiseDecided();
    }

    /// <summary>Makes an end of the pipeline the place of a failure that foreign code tells of; it counts also when the end has done its part.</summary>
    public void FailFromOutside(Exception error)
    {
        var fault = new StageFaultedException(Name, error);
        bool isPlace = TryDecideEnd(DiscardReason.Faulted, fault);
        if (!isPlace && EndReason != EndReason.InputEnded)
        {
            Graph.AddSecondary(fault);
            return;
        }

        Graph.OnStageFaulted(this, fault);
        if (isPlace)
            RaiseDecided();
    }

    /// <summary>Makes the stage the place of a failure although its user code has not returned, and leaves it behind.</summary>
    public virtual void FailAndAbandon(Exception error, long itemNumber, int attempt)
    {
        Fail(error, itemNumber, attempt);
        Abandon();
    }

    /// <summary>Leaves the stage behind whose user code did not return in time.</summary>
    public virtual void Abandon()
    {
        lock (_gate)
        {
            if (_hasEnded)
                return;
            _hasEnded = true;
            IsAbandoned = true;
        }

        Raise(Attention.Discard);
        EndMarker marker = _failure is null ? EndMarker.Canceled : new EndMarker(EndKind.Faulted, _failure);
        CloseLinks(marker);
        TellEnding(marker);
        End(_failure is null ? StageState.Canceled : StageState.Faulted, EndReason.Abandoned, _failure);
    }

    /// <summary>Runs when the links are set, before the run starts.</summary>
    public virtual void Prepare() { }

    /// <summary>Runs once, when the stage knows how it ends, after its links are closed. Any thread.</summary>
    protected virtual void OnEnding(EndMarker marker) { }

    private void TellEnding(EndMarker marker)
    {
        if (Interlocked.Exchange(ref _hasToldEnding, 1) != 0)
            return;
        try
        {
            OnEnding(marker);
        }
        catch (Exception error)
        {
            Graph.AddSecondary(new StageFaultedException(Name, error));
        }
    }

    /// <summary>How the stage would end now.</summary>
    protected EndMarker ExpectedEnd() => DecideEnd().Marker;

    /// <summary>Wakes the stream when a foreign task has ended, whatever way.</summary>
    protected async Task WakeAtEndAsync(Task foreign)
    {
        await foreign.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Wake();
    }

    /// <summary>Runs when a source is asked to end or any stage gives up, after the bits are set. Must not block.</summary>
    protected virtual void OnStop() { }

    // ---- The stream. -----------------------------------------------------------------------------------------------------------------

    /// <summary>Runs the stage from its start to its end. Never throws.</summary>
    public async Task ExecuteAsync()
    {
        try
        {
            if (!IsDiscarding)
            {
                await StartAsync().ConfigureAwait(false);
                ReportStart(hasStarted: true);
            }

            if (!IsDiscarding)
            {
                State = StageState.Running;
                SetActivity(StageActivity.Working);
                await RunAsync().ConfigureAwait(false);
            }
        }
        catch (Exception error)
        {
            Fail(error);
        }

        ReportStart(hasStarted: false);
        try
        {
            await ReturnAllAsync().ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Fail(error);
        }

        (StageState state, EndReason reason, EndMarker marker) = DecideEnd();
        CloseLinks(marker);
        SetActivity(StageActivity.Ending);
        TellEnding(marker);
        try
        {
            if (!IsAbandoned)
                await EndAsync(Graph.OutcomeFor(state), Graph.Cause ?? marker.Cause).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Graph.AddSecondary(new StageFaultedException(Name, error));
        }

        CleanUp();

        lock (_gate)
        {
            if (_hasEnded)
                return;
            _hasEnded = true;
        }

        End(state, reason, marker.Cause);
    }

    /// <summary>Makes the instances and starts them.</summary>
    protected virtual ValueTask StartAsync() => default;

    /// <summary>Handles items until the inputs have ended or the stage must end.</summary>
    protected abstract Task RunAsync();

    /// <summary>Returns when no user code of this stage runs any more and everything in work is settled.</summary>
    protected virtual ValueTask ReturnAllAsync() => default;

    /// <summary>Ends the instances that were started.</summary>
    protected virtual ValueTask EndAsync(RunState outcome, Exception? cause) => default;

    /// <summary>Frees what the stage holds, when its user code has returned for the last time; also when it was left behind meanwhile. Must not throw.</summary>
    protected virtual void CleanUp() { }

    /// <summary>Waits until something may have changed. The caller looks again at everything.</summary>
    public ValueTask WaitAsync(StageActivity activity, Link? waitsFor = null)
    {
        FlushInputs();
        WaitsFor = waitsFor;
        SetActivity(activity);
        return _wakeup.WaitAsync();
    }

    /// <summary>Wakes the writers that wait although slots are free. Due before every wait of the stream.</summary>
    protected virtual void FlushInputs()
    {
        foreach (Link input in Inputs)
            input.Flush();
    }

    public void OnBurstTaken() => Volatile.Write(ref _workingSince, Time.GetTimestamp());

    /// <summary>Notes that items are in work again.</summary>
    public void BeginWork()
    {
        WaitsFor = null;
        SetActivity(StageActivity.Working);
    }

    protected void SetActivity(StageActivity activity)
    {
        _activity.Enter(activity);
        Graph.OnActivity?.Invoke();
    }

    protected bool Has(Attention bits) => (Volatile.Read(ref _attention) & (int)bits) != 0;

    protected void Raise(Attention bits)
    {
        Interlocked.Or(ref _attention, (int)bits);
        Wake();
    }

    protected void Clear(Attention bits) => Interlocked.And(ref _attention, ~(int)bits);

    /// <summary>Counts an item that was discarded after its handling had started. Its slot is the caller's to release.</summary>
    public void DiscardInWork(object? item, DiscardReason reason)
    {
        Counters.CountDiscarded();
        NoteDiscarded(item, reason);
    }

    /// <summary>Notes a discarded item of this stage, queued or in work. Any thread.</summary>
    public void NoteDiscarded(object? item, DiscardReason reason)
    {
        Counters.NoteReason(reason);
        Graph.OnItemDiscarded(item, reason, this);
    }

    /// <summary>Whether the inputs that ended so far are enough to end the stage (<see cref="StageOptions.FanIn"/>). A failed or cancelled input never is by itself.</summary>
    protected bool HaveInputsEnded() => Options.FanIn == FanIn.Any && Array.Exists(Inputs, static i => i.End is { Kind: EndKind.Completed })
        || Array.TrueForAll(Inputs, static i => i.End is not null);

    /// <summary>The worst end marker of the inputs that were read to their end.</summary>
    protected EndMarker WorstInput() =>
        Inputs.Aggregate(EndMarker.Completed, static (worst, input) => input.End is { } end ? EndMarker.Worst(worst, end) : worst);

    private void ReportStart(bool hasStarted)
    {
        if (Interlocked.Exchange(ref _hasReportedStart, 1) == 0)
            Graph.OnStageStarted(this, hasStarted, _failure);
    }

    private (StageState State, EndReason Reason, EndMarker Marker) DecideEnd()
    {
        lock (_gate)
        {
            switch (_discardReason)
            {
                case DiscardReason.Faulted when _failure is not null:
                    return (StageState.Faulted, EndReason.Failed, new EndMarker(EndKind.Faulted, _failure));
                case DiscardReason.NoDemand:
                    return (StageState.Completed, EndReason.NoDemand, EndMarker.Completed);
                case not DiscardReason.None:
                    return (StageState.Canceled, EndReason.Canceled, EndMarker.Worst(EndMarker.Canceled, WorstInput()));
            }
        }

        if (IsFinishing)
            return (StageState.Completed, EndReason.Finished, EndMarker.Completed);
        EndMarker worst = WorstInput();
        StageState state = worst.Kind switch
        {
            EndKind.Faulted => StageState.Faulted,
            EndKind.Canceled => StageState.Canceled,
            _ => StageState.Completed,
        };
        return (state, EndReason.InputEnded, worst);
    }

    /// <summary>From here on nothing comes in and nothing goes out.</summary>
    private void CloseLinks(EndMarker marker)
    {
        DiscardReason reason = _discardReason == DiscardReason.None
            ? IsAbandoned ? DiscardReason.Canceled : DiscardReason.NoDemand
            : _discardReason;
        foreach (Link input in Inputs)
        {
            if (input.End is null)
                input.Shut(reason);
        }

        foreach (Link output in Outputs)
            output.Complete(marker);

        // The loss of an optional branch is not the end of a target that others feed as well.
        DeadLetters?.Complete(Scope is null ? marker : EndMarker.Completed);
    }

    private void End(StageState state, EndReason reason, StageFaultedException? cause)
    {
        State = state;
        EndReason = reason;
        Cause = cause;
        SetActivity(StageActivity.Ended);
        _finalReport = MakeReport();
        ReportStart(hasStarted: false);
        _completion.TrySetResult();
        if (state == StageState.Faulted)
        {
            _outcome.TrySetException(cause!);
            _ = _outcome.Task.Exception;
        }
        else if (state == StageState.Canceled)
        {
            _outcome.TrySetCanceled(DiscardToken);
        }
        else
        {
            _outcome.TrySetResult();
        }

        Graph.OnStageEnded(this);
    }

    // ---- What others see. ------------------------------------------------------------------------------------------------------------

    /// <summary>The numbers of the stage now; frozen when it has ended.</summary>
    public StageReport Report() => Volatile.Read(ref _finalReport) ?? MakeReport();

    private StageReport MakeReport()
    {
        // Settled before received before accepted, so that a running stage never shows more settled than accepted.
        long delivered = Counters.Delivered, skipped = Counters.Skipped, deadLettered = Counters.DeadLettered, failed = Counters.Failed, inWork = Counters.Discarded;
        long settled = delivered + skipped + deadLettered + failed + inWork;
        long discarded = inWork, received = 0, accepted = 0, queued = 0, slots = 0, maxSlots = 0, capacity = 0;
        foreach (Link input in Inputs)
        {
            LinkCounts counts = input.Counts;
            discarded += counts.Discarded - counts.Refused;
            received += counts.Received;
            accepted += counts.Accepted;
            queued += input.Queued;
            slots += input.SlotsHeld;
            maxSlots += input.MaxSlotsHeld;
            capacity += input.Capacity;
        }

        long inFlight = IsAbandoned ? 0 : Math.Max(0, received - settled);
        return new StageReport
        {
            Name = Name,
            Kind = Kind,
            State = State,
            EndReason = EndReason,
            Activity = Activity,
            WaitsFor = WaitsFor?.To,
            Accepted = accepted,
            Delivered = KeepsLedger ? delivered : accepted - discarded,
            Skipped = skipped,
            DeadLettered = deadLettered,
            Failed = failed,
            Discarded = discarded,
            Abandoned = IsAbandoned ? Math.Max(0, received - settled) : 0,
            Emitted = Outputs.Sum(static o => o.Counts.Sent),
            Restarts = Restarts,
            Repeated = Counters.Repeated,
            Queued = queued,
            InFlight = inFlight,
            Capacity = capacity,
            SlotsHeld = slots,
            MaxSlotsHeld = maxSlots,
            OldestItemAge = inFlight > 0 ? Time.GetElapsedTime(WorkingSince) : TimeSpan.Zero,
            Times = _activity.Times,
            KeepsLedger = KeepsLedger,
        };
    }
}
