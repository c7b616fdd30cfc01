using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Lifecycle;

/// <summary>
/// The completion graph of one run: its stages are the nodes, its links the edges. It decides which stages stop, discard or go on, and
/// tells them. It never moves an item.
/// </summary>
/// <remarks>
/// What the run comes to is decided by <see cref="RunEnding"/> under one lock, which is never held while a stage is told or user code
/// runs. What a stage is told only ever rises (run, stop, discard), so it does not matter in which order two changes reach it.
/// </remarks>
internal sealed class CompletionGraph : IMeteredRun
{
    // Each is safe by itself, for any thread.
    private readonly RunEnding _ending = new();
    private readonly RunStart _start;
    private readonly RunReporter _reporter;
    private readonly Deadline _cancelDeadline;
    private readonly Deadline _abandonDeadline;
    private readonly TaskCompletionSource<PipelineReport> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<PipelineReport> _report = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Guards the two below. Inside of it nothing waits, no stage is told and no other lock is taken but that of _ending.
    private readonly Lock _gate = new();

    // Who tells stages something decides it first and looks here then; who admits stages looks inside of the lock whether it is decided. So
    // a stage that is admitted is told whatever the others are.
    private GraphShape _shape = GraphShape.Empty;

    // Who counts the last stage down ends the run.
    private int _notEnded;

    // Set before the run starts, then read only.
    private ProgressWatch? _watch;
    private RunTrace? _trace;
    private CancellationTokenRegistration _callerToken;

    // Changed by interlocked operations only.
    private int _hasLoggerFailed;

    public CompletionGraph(PipelineOptions options, ILoggerFactory loggers)
    {
        Options = options;
        Loggers = loggers;
        Logger = new SafeLogger(loggers.CreateLogger(LogCategory.Of(options.Name)), NoteLoggerFailure);
        _start = new RunStart(_ending);
        _reporter = new RunReporter(Time, _ending, options.StallTimeout);
        _cancelDeadline = new Deadline(Time, () => Cancel(new CancellationToken(canceled: true)));
        _abandonDeadline = new Deadline(Time, () => Abandon(Nodes));
    }

    public PipelineOptions Options { get; }

    /// <summary>Guards what is decided of the ends of the stages, so that several are decided at once.</summary>
    public Lock StageEnds { get; } = new();

    /// <summary>The application's logging.</summary>
    public ILoggerFactory Loggers { get; }

    /// <summary>The logger of the library's own events. It never throws.</summary>
    public ILogger Logger { get; }

    public string Pipeline => Options.Name;

    public TimeProvider Time => Options.TimeProvider;

    /// <summary>The stages now: those that the run started with, and those of branches that were attached.</summary>
    public IReadOnlyList<StageNode> Nodes => Shape.Nodes;

    /// <summary>Called whenever a stage begins to wait, to work or to end, so that a test can tell when a run is at rest. Must not block.</summary>
    public Action? OnActivity { get; set; }

    /// <summary>Ends when all stages have started, or with the start-up failure.</summary>
    public Task Started => _start.Started;

    public Task<PipelineReport> Completion => _completion.Task;

    /// <summary>The same end as a value: never faults, never is cancelled.</summary>
    public Task<PipelineReport> Report => _report.Task;

    public Exception? Cause => _ending.Decision.Cause;

    public RunState State => _ending.State;

    /// <summary>Whether the run has failed and works off what is left.</summary>
    public bool IsDrainingAfterFault => _ending.IsDrainingAfterFault;

    /// <summary>Makes the logger of a stage's user code.</summary>
    public ILogger CreateLogger(string stage) => Loggers.CreateLogger(LogCategory.Of(Options.Name, stage));

    // ---- Start. ----------------------------------------------------------------------------------------------------------------------

    /// <summary>Starts all stages. Called once.</summary>
    public void Start(IReadOnlyList<StageNode> nodes, IReadOnlyList<Link> links, CancellationToken cancellationToken)
    {
        lock (_gate)
            (_shape, _notEnded) = (GraphShape.Empty.With(nodes, links), nodes.Count);
        _start.Expect(nodes.Count);
        Log.RunStarted(Logger, Options.Name, nodes.Count);
        _watch = new ProgressWatch(this, Logger);
        if (cancellationToken.CanBeCanceled)
            _callerToken = cancellationToken.UnsafeRegister(static (state, token) => ((CompletionGraph)state!).Cancel(token), this);
        RunMeter.Add(this);
        _trace = RunTrace.Begin(Options.Name, NoteLoggerFailure);
        foreach (StageNode node in nodes)
            Execute(node);
    }

    /// <summary>Waits until every stage has started or failed to, so that no source is read before.</summary>
    public Task WaitForStartAsync(CancellationToken cancellationToken) => _start.AllReported.WaitAsync(cancellationToken);

    /// <summary>A stage has started, or will not. Called once by each stage.</summary>
    public void OnStageStarted(StageNode node, bool hasStarted, StageFaultedException? failure)
    {
        if (hasStarted && failure is null)
            Log.StageStarted(Logger, node.Name);
        if (node.StartsWith is { } branch)
        {
            branch.Report();
            return;
        }

        // A stage of an optional branch that does not start is no reason for the run not to.
        _start.Report(hasStarted, node.Scope is null ? failure : null);
    }

    // ---- Branches that are attached while the run goes on. Any thread. -------------------------------------------------------------------

    /// <summary>Takes the stages of a branch into the run, all at once, and starts them. The run ends only when they have.</summary>
    /// <returns>False when one of their names was taken meanwhile.</returns>
    /// <exception cref="BroadcastClosedException">The run takes no more input, or the branch that they were to be in is lost or given up.</exception>
    public bool TryAdmit(IReadOnlyList<StageNode> nodes, IReadOnlyList<Link> links, StageNode broadcast)
    {
        bool isOpen, isAdmitted = false;
        lock (_gate)
        {
            isOpen = _notEnded > 0 && _ending.IsOpen && !broadcast.MustGiveUp && !BranchScope.IsInAny(broadcast.Scope, static s => s.IsDetached);
            if (isOpen && _shape.TryMakeRoom(nodes) is { } shape)
            {
                _shape = shape.With(nodes, links);
                _notEnded += nodes.Count;
                isAdmitted = true;
            }
        }

        if (!isOpen)
            throw new BroadcastClosedException(broadcast.Name, State, broadcast.EndReason, Cause);
        if (!isAdmitted)
            return false;
        foreach (StageNode node in nodes)
            Execute(node);
        return true;
    }

    /// <summary>Forgets a branch that did not join; its stages have ended.</summary>
    public void Forget(BranchScope refused)
    {
        Debug.Assert(refused.IsRefused && StagesIn(refused).All(static n => n.Completion.IsCompleted), "Only what never belonged to the run is forgotten.");
        lock (_gate)
            _shape = _shape.Without(refused);
    }

    /// <summary>The stages of a branch, and of those that were attached inside of it.</summary>
    public IEnumerable<StageNode> StagesIn(BranchScope scope) => Shape.StagesIn(scope);

    /// <summary>Asks the sources of a branch for no more input.</summary>
    public void StopIn(BranchScope scope) => StopSources(StagesIn(scope));

    /// <summary>Makes a branch give up what it holds; what has not returned by the abort time-out is left behind. To be called before its input ends, for which it would complete.</summary>
    /// <returns>What calls the time-out off.</returns>
    public IDisposable GiveUp(BranchScope scope)
    {
        // Twice: what was attached inside of it until the first time is there the second time, and nothing is attached after the first.
        List<StageNode> decided = [.. Decide(StagesIn(scope), DiscardReason.Canceled), .. Decide(StagesIn(scope), DiscardReason.Canceled)];
        ITimer timer = Time.CreateTimer(_ => Abandon(StagesIn(scope)), null, Options.AbortTimeout, Timeout.InfiniteTimeSpan);
        Tell(decided);
        return timer;
    }

    // ---- What the owner of the run asks. Any thread, any time, any number of times. ------------------------------------------------------

    /// <summary>No more input; everything accepted is processed.</summary>
    public void Complete()
    {
        if (_ending.HasEnded)
            return;
        if (_ending.TryRaise(Urgency.Drain))
            Log.RunDraining(Logger, Options.Name);

        // Also when another thread was first: it may not have come so far.
        ShowDraining();
        StopSources(Nodes);
    }

    /// <summary>Gives up everything; the run is cancelled unless it has a cause already.</summary>
    public void Cancel(CancellationToken token)
    {
        if (!_ending.ProposeCanceled(token))
            return;
        Log.RunCanceling(Logger, Options.Name);
        Abort();
    }

    /// <summary>Completes the run now and cancels it if it has not ended at the deadline.</summary>
    public void Stop(TimeSpan deadline)
    {
        Complete();
        _cancelDeadline.Set(deadline);
    }

    /// <summary>Faults the run from outside and gives up everything.</summary>
    public void Fault(Exception error)
    {
        var fault = new StageFaultedException(null, error);
        if (!_ending.ProposeFaulted(fault))
            return;
        LogFault(fault, null);
        Abort();
    }

    // ---- What the stages report. ---------------------------------------------------------------------------------------------------------

    /// <summary>A stage failed and is giving up what it holds.</summary>
    public void OnStageFaulted(StageNode node, StageFaultedException fault)
    {
        // Who cancels may not have come that far; the stages behind this one must not complete for its end until then.
        if (_ending.Decision.Outcome == RunState.Canceled)
            Abort();
        while (BranchScope.LosableAt(node.Scope) is { } scope)
        {
            if (TryLose(scope, node, fault))
                return;
        }

        if (!_ending.ProposeFaulted(fault))
            return;
        _ending.TryRaise(Urgency.Drain);
        LogFault(fault, node);
        if (Options.FaultMode == FaultMode.Abort)
        {
            Abort();
            return;
        }

        // In this order: a source upstream that were asked to stop first could still end as completed.
        Discard(Shape.UpstreamOf(node, scope: null), DiscardReason.Faulted);
        ShowDraining();
        StopSources(Nodes);
    }

    /// <summary>A stage failed in a branch that can be lost alone.</summary>
    /// <returns>False when another decision about the branch was faster, so that the caller looks again.</returns>
    private bool TryLose(BranchScope scope, StageNode node, StageFaultedException fault)
    {
        // Whoever attaches the branch is told, and gives up the rest of it.
        if (scope.IsJoining)
            return scope.TryRefuse(fault);
        if (scope.IsRefused)
        {
            Log.SecondaryError(Logger, node.Name, fault.Message, fault.InnerException);
            return true;
        }

        if (!scope.IsOptional)
            return false;
        if (scope.TryDetach())
        {
            _ending.AddSecondary(fault);
            Log.BranchDetached(Logger, scope.Name, node.Name, ExceptionText.MessageOf(fault), fault.InnerException);
        }
        else
        {
            AddSecondary(fault);
        }

        GraphShape shape = Shape;
        Discard(shape.UpstreamOf(node, scope), DiscardReason.Faulted);
        StopSources(shape.StagesIn(scope));
        return true;
    }

    /// <summary>Makes the reader of a link the place of a failure that its writer noticed.</summary>
    public void FailReader(Link link, Exception error)
    {
        foreach (StageNode reader in Shape.ReadersOf(link))
            reader.Fail(error);
    }

    /// <summary>Keeps an error that cannot change the outcome.</summary>
    public void AddSecondary(Exception error)
    {
        _ending.AddSecondary(error);
        Log.SecondaryError(Logger, Options.Name, ExceptionText.MessageOf(error), error);
    }

    /// <summary>A log that fails is no reason to fail; that it does is worth knowing, once.</summary>
    private void NoteLoggerFailure(Exception error)
    {
        if (Interlocked.Exchange(ref _hasLoggerFailed, 1) == 0)
            _ending.AddSecondary(error);
    }

    public void OnItemDiscarded(object? item, DiscardReason reason, StageNode stage)
    {
        if (Options.OnDiscarded is not { } callback)
            return;

        // Whoever leaves a stage behind must not be held up by its user code.
        if (stage.IsAbandoned)
            Own(Task.Run(() => TellDiscarded(callback, item, reason, stage)));
        else
            TellDiscarded(callback, item, reason, stage);
    }

    private void TellDiscarded(Action<DiscardedItem> callback, object? item, DiscardReason reason, StageNode stage)
    {
        try
        {
            callback(new DiscardedItem(item, reason, stage.Name));
        }
        catch (Exception error)
        {
            AddSecondary(new StageFaultedException(stage.Name, error));
        }
    }

    public void OnStageEnded(StageNode node)
    {
        StageReport report = node.Report();
        Log.StageEnded(Logger, node.Name, report.State, report.EndReason, report.Accepted, report.Delivered, report.Emitted);
        LogDiscards(node);
        if (node.IsAbandoned)
            Log.StageAbandoned(Logger, node.Name, report.Abandoned, Options.AbortTimeout);
        _trace?.EndStage(node, report, node.Cause);
        bool isLast;
        lock (_gate)
            isLast = --_notEnded == 0;
        if (isLast)
            Finish();
    }

    /// <summary>Watches a task of the run, so that its failure is not lost.</summary>
    public void Own(Task task)
    {
        if (!task.IsCompletedSuccessfully)
            _ = ObserveAsync(task);
    }

    private async Task ObserveAsync(Task task)
    {
        try
        {
            await task.ConfigureAwait(false);
        }
        catch (Exception error)
        {
            AddSecondary(error);
        }
    }

    /// <summary>The outcome as a stage's instances are told: the run's, once it is known, else the stage's own end.</summary>
    public RunState OutcomeFor(StageState own) => _ending.Decision.Outcome ?? own switch
    {
        StageState.Faulted => RunState.Faulted,
        StageState.Canceled => RunState.Canceled,
        _ => RunState.Completed,
    };

    /// <summary>A drain after a fault has made no progress for too long.</summary>
    public void OnDrainStalled()
    {
        Log.DrainTimedOut(Logger, Options.Name, Options.DrainTimeout);
        Abort();
    }

    public PipelineSnapshot Snapshot() => _reporter.Snapshot(Shape.Counted());

    private GraphShape Shape
    {
        get
        {
            lock (_gate)
                return _shape;
        }
    }

    public IReadOnlyList<StageReport> ReportStages() => Shape.Counted().ReportStages();

    public IReadOnlyList<LinkReport> ReportLinks() => Shape.Counted().ReportLinks();

    // ---- Inside. ---------------------------------------------------------------------------------------------------------------------------

    private void Execute(StageNode node) =>
        Own(_trace is null ? Task.Run(node.ExecuteAsync, CancellationToken.None) : _trace.RunStageAsync(node, node.Name, node.Kind, node.ExecuteAsync));

    /// <summary>Before any stage can end for it.</summary>
    private void ShowDraining()
    {
        foreach (StageNode node in Nodes)
            node.RaiseDrain();
    }

    private static void StopSources(IEnumerable<StageNode> nodes)
    {
        foreach (StageNode node in nodes)
            node.RaiseStop();
    }

    /// <summary>Makes stages give up what they hold.</summary>
    private void Discard(IEnumerable<StageNode> nodes, DiscardReason reason) => Tell(Decide(nodes, reason));

    /// <summary>Decides that stages give up. At once, and before the first is told: the end of one would otherwise end its neighbours for another reason.</summary>
    /// <returns>Those to tell.</returns>
    private List<StageNode> Decide(IEnumerable<StageNode> nodes, DiscardReason reason)
    {
        lock (StageEnds)
            return [.. nodes.Where(n => n.TryDecideDiscard(reason))];
    }

    private static void Tell(List<StageNode> decided)
    {
        foreach (StageNode node in decided)
            node.RaiseDecided();
    }

    private void Abort()
    {
        bool isFirst = _ending.TryRaise(Urgency.Abort);

        // Also when another thread was first: it may not have come so far, and the stage that failed here must not end before the others are decided.
        List<StageNode> decided = Decide(Nodes, DiscardReason.Canceled);
        if (isFirst)
            _abandonDeadline.Set(Options.AbortTimeout);
        Tell(decided);
    }

    private static void Abandon(IEnumerable<StageNode> nodes)
    {
        foreach (StageNode node in nodes)
            node.Abandon();
    }

    private void LogFault(StageFaultedException fault, StageNode? node)
    {
        if (ReferenceEquals(Cause, fault))
            Log.RunFaulted(Logger, Options.Name, fault.Message, fault.InnerException);
        else
            Log.SecondaryError(Logger, node?.Name ?? Options.Name, fault.Message, fault.InnerException);
    }

    private void LogDiscards(StageNode node)
    {
        foreach (DiscardReason reason in Enum.GetValues<DiscardReason>())
        {
            long count = node.Counters.DiscardedFor(reason);
            if (count == 0)
                continue;
            if (reason == DiscardReason.NoDemand)
                Log.ItemsNotWanted(Logger, node.Name, count);
            else
                Log.ItemsDiscarded(Logger, node.Name, count, reason);
        }
    }

    /// <summary>Runs once, after the last stage has ended. State first, continuations last.</summary>
    private void Finish()
    {
        _watch?.Dispose();
        _callerToken.Unregister();
        RunDecision decision = _ending.End();
        _cancelDeadline.End();
        _abandonDeadline.End();
        PipelineReport report = _reporter.Report(Shape.Counted());
        Log.RunEnded(Logger, Options.Name, report.State, report.Duration);
        RunMeter.Remove(this, report);
        _trace?.End(report);
        if (decision.Cause is { } cause)
            _completion.SetObserved(cause);
        else if (decision.Outcome == RunState.Canceled)
            _completion.TrySetCanceled(decision.CancelToken);
        else
            _completion.TrySetResult(report);

        // Last, because who disposes a run waits for it and may look at Completion then.
        _report.TrySetResult(report);

        // Last, so that a run whose numbers are wrong ends all the same.
        ConservationLaw.Assert(report);
    }
}
