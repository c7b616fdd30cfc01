using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Buffers;

namespace Puma.Dataflow.Lifecycle;

/// <summary>
/// One stage of a run: a node of the completion graph and one execution stream that reads its input links and writes its output links.
/// </summary>
/// <remarks>
/// The stream itself (<see cref="ExecuteAsync"/> and all that it calls) is the only one that touches the stage's items. Everything that
/// comes from outside is a signal (<see cref="StageSignals"/>) and a wake-up; the stream looks at the signals before each item. How the
/// stage ends is decided by <see cref="StageEnding"/>.
/// </remarks>
internal abstract class StageNode(StageSetup setup) : ILinkEnd
{
    // Each is safe by itself, for any thread.
    private readonly StageSignals _signals = new();
    private readonly StageEnding _ending = new(setup.Graph.StageEnds);
    private readonly ActivityClock _activity = new(setup.Graph.Time);
    private readonly StageProgress _progress = new(setup.Graph.Time);

    // Set by any thread, awaited by the stream, and by emits beside it.
    private readonly Wakeups _wakeups = new();

    // Written by the reader of a burst, the stream; read by any thread.
    private long _workingSince = setup.Graph.Time.GetTimestamp();

    // Each is done once, by who comes first.
    private int _hasReportedStart;
    private int _hasToldEnding;

    // Written once, by who has ended the stage.
    private StageReport? _finalReport;

    public string Name => setup.Name;

    public string Kind => setup.Kind;

    public StageOptions Options => setup.Options;

    /// <inheritdoc cref="StageSetup.ItemTimeoutName"/>
    public string ItemTimeoutName => setup.ItemTimeoutName;

    public CompletionGraph Graph => setup.Graph;

    public ILogger Logger { get; } = setup.Graph.CreateLogger(setup.Name);

    protected TimeProvider Time => Graph.Time;

    /// <summary>Set before the run starts.</summary>
    public StageLinks Links { get; } = new();

    public Link[] Inputs => Links.Inputs;

    public Link[] Outputs => Links.Outputs;

    public Link? DeadLetters => Links.DeadLetters;

    /// <summary>The innermost branch that the stage is in, of those that are optional or were attached. Set before the stage starts.</summary>
    public BranchScope? Scope { get; set; }

    /// <summary>The stages that this one starts with, when it is in a branch that joins the run; null for those that the run starts with. Set before the stage starts.</summary>
    public StartGroup? StartsWith { get; set; }

    /// <summary>Whether the stage has no inputs and ends by being asked to.</summary>
    public virtual bool IsSource => false;

    /// <summary>Whether the counting rules hold inside the stage; not for foreign blocks.</summary>
    public virtual bool KeepsLedger => true;

    /// <summary>Runs when the links are set, before the run starts.</summary>
    public virtual void Prepare() { }

    // ---- What others see. Any thread. ------------------------------------------------------------------------------------------------

    public StageCounters Counters { get; } = new();

    public StageState State => _progress.Now;

    /// <summary>What the stage and its instances report.</summary>
    public StatusBoard Status => _progress.Board;

    // Written once, by who has ended the stage.
    public EndReason EndReason { get; private set; }

    /// <summary>The failure of this stage itself, or the one that reached it.</summary>
    public StageFaultedException? Cause { get; private set; }

    public bool IsAbandoned => _ending.IsAbandoned;

    /// <summary>Ends when the stage has ended, whatever way; never faults.</summary>
    public Task Completion => _ending.Completion;

    /// <summary>The same end with its outcome: faulted, cancelled or completed. Its exception is observed already.</summary>
    public Task Outcome => _ending.Outcome;

    public StageActivity Activity => _activity.Now;

    public StageTimes Times => _activity.Times;

    /// <summary>The link whose full slots the stage waits for, while it does. Written by the stream.</summary>
    public Link? WaitsFor { get; private set; }

    /// <summary>When the next attempt at an item is due, while the stage waits for it.</summary>
    public DateTimeOffset RetryDue { get; private set; }

    /// <summary>When the burst was taken that the oldest item in work came with.</summary>
    public virtual long WorkingSince => Volatile.Read(ref _workingSince);

    public virtual long Restarts => 0;

    /// <summary>The numbers of the stage now; frozen when it has ended.</summary>
    public StageReport Report() => Volatile.Read(ref _finalReport) ?? StageReporter.Report(this);

    // ---- What others ask of the stage. Any thread. -----------------------------------------------------------------------------------

    /// <inheritdoc cref="StageSignals.DiscardToken"/>
    public CancellationToken DiscardToken => _signals.DiscardToken;

    /// <inheritdoc cref="StageSignals.StopToken"/>
    public CancellationToken StopToken => _signals.StopToken;

    public bool IsDiscarding => Has(Attention.Discard);

    /// <summary>
    /// Whether it is decided that the stage gives up what it holds, told or not, or it was left behind: what to ask behind the end of an input.
    /// Stages that give up together are told one after another, and the end of one must not look like the end of all input to the next.
    /// </summary>
    public bool MustGiveUp => _ending.Reason != DiscardReason.None || IsDiscarding;

    public bool IsStopping => Has(Attention.Stop | Attention.Finish | Attention.Discard);

    protected bool IsFinishing => Has(Attention.Finish);

    /// <summary>Whether the stream must look at its signals before the next item.</summary>
    public bool NeedsAttention => _signals.HasAny;

    public virtual void Wake() => _wakeups.Set();

    /// <summary>Wakes the stream, which goes on on this thread if it waits. For stages that do no more in <see cref="Wake"/>.</summary>
    /// <param name="turn">The turns of this thread.</param>
    /// <param name="relief">Does elsewhere what the thread has to do besides, when user code keeps it.</param>
    /// <inheritdoc cref="Turn.TakeBesideOtherWork" path="/returns"/>
    public bool WakeHere(Turn turn, Action relief) => !_wakeups.TrySetForCaller() || turn.TakeBesideOtherWork(_wakeups.Stream, relief);

    protected bool Has(Attention bits) => _signals.Has(bits);

    protected void Clear(Attention bits) => _signals.Clear(bits);

    protected void Raise(Attention bits)
    {
        _signals.Set(bits);
        Wake();
    }

    /// <summary>Says that something waits in the control lane.</summary>
    public void RaiseControl() => Raise(Attention.Control);

    /// <summary>Whether the stage wants to know that no more input is asked for; others than sources end when their inputs do.</summary>
    protected virtual bool HearsStop => IsSource;

    /// <summary>Says that the run takes no more input; a stage that gives up what it holds has nothing to drain.</summary>
    public void RaiseDrain()
    {
        if (_ending.Reason == DiscardReason.None)
            _progress.Drain();
    }

    /// <summary>Shows whether a child of the stage is being replaced.</summary>
    public void ShowRestarting(bool isRestarting) => _progress.ShowRestarting(isRestarting);

    /// <summary>Asks a source or entry for no more input. Other stages end when their inputs do.</summary>
    public void RaiseStop()
    {
        if (!HearsStop)
            return;
        Raise(Attention.Stop);
        Graph.Own(_signals.FireStopAsync());
        OnStop();
    }

    /// <summary>Asks the stage to end early, as completed.</summary>
    public void RaiseFinish()
    {
        Raise(Attention.Finish);
        if (IsSource)
        {
            Graph.Own(_signals.FireStopAsync());
            OnStop();
        }
    }

    /// <summary>The reader of one of the outputs wants no more; when none does, the stage has no reason to go on.</summary>
    public virtual void OnReaderClosed()
    {
        if (Links.AreOutputsShut)
            RaiseDiscard(DiscardReason.NoDemand);
    }

    /// <summary>Tells the stage to give up what it holds.</summary>
    public void RaiseDiscard(DiscardReason reason)
    {
        if (TryDecideDiscard(reason))
            RaiseDecided();
    }

    /// <summary>Decides that the stage will give up what it holds; <see cref="RaiseDecided"/> must follow.</summary>
    /// <returns>False when that, or another end, was decided before.</returns>
    public bool TryDecideDiscard(DiscardReason reason) => _ending.TryDecide(reason, failure: null);

    /// <summary>Tells the stage what was decided of it.</summary>
    public void RaiseDecided()
    {
        Raise(Attention.Discard);
        Graph.Own(_signals.FireStopAsync());
        Graph.Own(_signals.FireDiscardAsync());
        OnStop();

        // Who writes to this stage need not wait until its user code has returned. An optional branch is left behind in this way.
        Links.RefuseInputs();
    }

    /// <summary>Runs when a source is asked to end or any stage gives up, after the signals are set. Must not block.</summary>
    protected virtual void OnStop() { }

    /// <summary>Makes the stage itself the place of a failure.</summary>
    public void Fail(Exception error, long? itemNumber = null, int attempt = 0)
    {
        // Cancellation is only an echo when our own token has fired; any other is a failure like all others.
        if (error is OperationCanceledException && (IsDiscarding || (IsSource && IsStopping)))
            return;
        var fault = new StageFaultedException(Name, error, itemNumber, attempt);
        if (!_ending.TryDecide(DiscardReason.Faulted, fault))
        {
            Graph.AddSecondary(fault);

            // Who has decided that the stage gives up may not have told it yet. It must not go on behind its failure until then.
            if (_ending.Reason != DiscardReason.None)
                Raise(Attention.Discard);
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
        bool isPlace = _ending.TryDecide(DiscardReason.Faulted, fault);
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
        if (_ending.TryAbandon() is not { } end)
            return;
        Raise(Attention.Discard);
        CloseLinks(end.Marker);
        foreach (Link input in Inputs)
            input.LeaveBehind();
        TellEnding(end.Marker);
        End(end);
    }

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
                _progress.Start();
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

        StageEnd end = _ending.Expect(Links, IsFinishing);
        CloseLinks(end.Marker);
        SetActivity(StageActivity.Ending);
        TellEnding(end.Marker);
        try
        {
            if (!IsAbandoned)
                await EndAsync(Graph.OutcomeFor(end.State), Graph.Cause ?? end.Marker.Cause).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Graph.AddSecondary(new StageFaultedException(Name, error));
        }

        CleanUp();
        if (_ending.TryEnd())
            End(end);
    }

    /// <summary>Waits until every stage has started with which this one does, so that no source is read before.</summary>
    protected Task WaitForStartAsync() => StartsWith?.WaitUntilOpenAsync(StopToken) ?? Graph.WaitForStartAsync(StopToken);

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
        long now = BeginWait(activity);
        return Links.TrySleep() ? WaitAtAsync(_wakeups.Stream, now) : default;
    }

    /// <summary>Adds a signal for an emit, which may run beside the stream. The stream only.</summary>
    public Wakeup AddWakeup() => _wakeups.Add();

    /// <summary>Takes it away when nothing is emitted there any more. The stream only.</summary>
    public void RemoveWakeup(Wakeup wakeup) => _wakeups.Remove(wakeup);

    /// <summary>Waits until a link may have a slot again, or the stage was told something. What comes in meanwhile may wake it or not.</summary>
    /// <param name="full">The link.</param>
    /// <param name="at">Where to wait; null for the stream's own signal.</param>
    public ValueTask WaitForSlotAsync(Link full, Wakeup? at = null)
    {
        FlushInputs();
        WaitsFor = full;
        return WaitAtAsync(at ?? _wakeups.Stream, BeginWait(StageActivity.WaitingForOutput));
    }

    /// <summary>Waits, which ends the turn: an emit that is not awaited at once notes that too early, and its stream looks quick until the next look.</summary>
    private ValueTask WaitAtAsync(Wakeup at, long since)
    {
        ValueTask waiting = at.WaitAsync(Turning);
        if (!waiting.IsCompleted && Time == TimeProvider.System)
            Turn.NoteWait(this, since);
        return waiting;
    }

    /// <summary>The thread that receives for its stream runs its turns. Before the first wait.</summary>
    protected void StayWithReceiver() => _wakeups.Stream.StaysWithReceiver = true;

    /// <summary>Offers the thread to others. The caller looks again at everything.</summary>
    protected ValueTask YieldAsync() => _wakeups.Stream.YieldAsync(Turning);

    /// <summary>
    /// Waits for user code that has not returned. Who ends its wait may be user code as well, which must not carry further items on its stack, for
    /// example under a lock: the stream goes on with a turn of its own. The caller looks again at everything.
    /// </summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<Fate> AwaitUserCodeAsync(ValueTask<Fate> handling)
    {
        FlushInputs();
        Fate fate = await handling.ConfigureAwait(false);
        await _wakeups.Stream.YieldAsync(Turning, preferLocal: true).ConfigureAwait(false);
        return fate;
    }

    /// <summary>Wakes the writers that wait although slots are free. Due before every wait of the stream but <see cref="LeaveTurnAsync"/>, whose borrower does it.</summary>
    protected virtual void FlushInputs() => Links.FlushInputs();

    void ILinkEnd.EndTurn(Turn turn)
    {
        Links.SignalOutputs();
        OnTurnEnds(turn);
    }

    void ILinkEnd.UseRestOfTurn(Turn turn) => UseRestOfTurn(turn);

    /// <summary>A turn of the stream, or what goes on in its rest, gives back what it has kept back. Any thread.</summary>
    protected virtual void OnTurnEnds(Turn turn) { }

    /// <inheritdoc cref="ILinkEnd.UseRestOfTurn"/>
    protected virtual void UseRestOfTurn(Turn turn) { }

    /// <summary>Leaves the rest of its turn to <see cref="ILinkEnd.UseRestOfTurn"/>, and waits for a signal. The stream must not touch what is done there before that has ended.</summary>
    protected ValueTask LeaveTurnAsync()
    {
        WaitsFor = null;
        return _wakeups.Stream.WaitAsync(Turning);
    }

    /// <summary>Wakes the stream when a foreign task has ended, whatever way.</summary>
    protected async Task WakeAtEndAsync(Task foreign)
    {
        await foreign.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Wake();
    }

    public void OnBurstTaken() => Volatile.Write(ref _workingSince, Recently());

    /// <summary>Notes that items are in work again.</summary>
    public void BeginWork()
    {
        WaitsFor = null;
        SetActivity(StageActivity.Working, Recently());
    }

    /// <returns>The timestamp.</returns>
    private long BeginWait(StageActivity activity)
    {
        long now = Time.GetTimestamp();
        SetActivity(activity, now);
        return now;
    }

    /// <summary>The stream, if it takes turns: where items are lost, or the run fails, because the stage sleeps, no other stream's turn may come before its own.</summary>
    private ILinkEnd? Turning => Links.IsLossy ? null : this;

    /// <summary>The time, as exact as the length of a quick turn: looking at the clock for every burst would cost more than short items do.</summary>
    private long Recently() => Time == TimeProvider.System && Turn.TryGetTime(this, out long recently) ? recently : Time.GetTimestamp();

    /// <summary>Shows that an instance waits until it may try an item again, or waits no longer. Any thread.</summary>
    /// <param name="due">When it may; null when the wait is over.</param>
    public virtual void OnRetryWait(DateTimeOffset? due)
    {
        if (due is { } time)
            RetryDue = time;
        SetActivity(due is null ? StageActivity.Working : StageActivity.WaitingForRetry);
    }

    protected void SetActivity(StageActivity activity) => SetActivity(activity, Time.GetTimestamp());

    private void SetActivity(StageActivity activity, long now)
    {
        _activity.Enter(activity, now);
        Graph.OnActivity?.Invoke();
    }

    /// <summary>Whether the inputs that ended so far are enough to end the stage (<see cref="StageOptions.FanIn"/>).</summary>
    protected bool HaveInputsEnded() => Links.HaveInputsEnded(Options.FanIn);

    /// <summary>Why an item in work is given up now.</summary>
    public DiscardReason ReasonToDiscard => _ending.Reason != DiscardReason.None ? _ending.Reason : IsFinishing ? DiscardReason.NoDemand : DiscardReason.Faulted;

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

    // ---- The end: by the stream, or by who leaves the stage behind. --------------------------------------------------------------------

    /// <summary>How the stage would end now.</summary>
    protected EndMarker ExpectedEnd() => _ending.Expect(Links, IsFinishing).Marker;

    /// <summary>Runs once, when the stage knows how it ends, after its links are closed. Any thread.</summary>
    protected virtual void OnEnding(EndMarker marker) { }

    private void ReportStart(bool hasStarted)
    {
        if (Interlocked.Exchange(ref _hasReportedStart, 1) == 0)
            Graph.OnStageStarted(this, hasStarted, _ending.Failure);
    }

    private void CloseLinks(EndMarker marker)
    {
        // The loss of an optional branch is not the end of a dead-letter target that others feed as well.
        Links.Close(_ending.ReasonForQueued, marker, deadLetterMarker: BranchScope.LosableAt(Scope) is null ? marker : EndMarker.Completed);
    }

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

    /// <summary>Called once, by who has ended the stage. The numbers are frozen before anybody is told.</summary>
    private void End(StageEnd end)
    {
        (EndReason, Cause) = (end.Reason, end.Marker.Cause);
        _progress.End(end.State);
        SetActivity(StageActivity.Ended);
        Volatile.Write(ref _finalReport, StageReporter.Report(this));
        ReportStart(hasStarted: false);
        _ending.Tell(end, DiscardToken);
        Graph.OnStageEnded(this);
    }
}
