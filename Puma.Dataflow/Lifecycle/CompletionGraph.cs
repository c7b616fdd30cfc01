using Microsoft.Extensions.Logging;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Lifecycle;

/// <summary>
/// The completion graph of one run: its stages are the nodes, its links the edges. It holds the outcome, the urgency and the cause,
/// and decides which stages stop, discard or go on. It never moves an item.
/// </summary>
/// <remarks>
/// State changes under one lock, which is never held while a stage is told or user code runs. What a stage is told only ever rises
/// (run, stop, discard), so it does not matter in which order two changes reach it.
/// </remarks>
internal sealed class CompletionGraph
{
    private enum Urgency
    {
        Run,
        Drain,
        Abort,
    }

    private readonly Lock _gate = new();
    private readonly TaskCompletionSource _allReported = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _started = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<PipelineReport> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<PipelineReport> _report = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly long _startTimestamp;

    // Guarded by _gate.
    private readonly List<Exception> _secondary = [];
    private Urgency _urgency;
    private RunState? _outcome;
    private StageFaultedException? _cause;
    private CancellationToken _cancelToken;
    private StageFaultedException? _startFailure;
    private int _notStarted;
    private bool _hasUnstarted;
    private bool _hasLoggerFailed;
    private int _notEnded;
    private bool _hasEnded;
    private ITimer? _abandonTimer;
    private ITimer? _cancelTimer;

    // Set before the run starts.
    private readonly Dictionary<Link, StageNode> _writerOf = [];
    private ProgressWatch? _watch;
    private CancellationTokenRegistration _callerToken;

    public CompletionGraph(PipelineOptions options, ILoggerFactory loggers)
    {
        Options = options;
        Loggers = loggers;
        Logger = new SafeLogger(loggers.CreateLogger(LogCategory.Of(options.Name)), NoteLoggerFailure);
        _startTimestamp = options.TimeProvider.GetTimestamp();
    }

    public PipelineOptions Options { get; }

    /// <summary>The application's logging.</summary>
    public ILoggerFactory Loggers { get; }

    /// <summary>The logger of the library's own events. It never throws.</summary>
    public ILogger Logger { get; }

    public TimeProvider Time => Options.TimeProvider;

    /// <summary>Set before the run starts.</summary>
    public IReadOnlyList<StageNode> Nodes { get; private set; } = [];

    /// <summary>Set before the run starts; dead-letter links included.</summary>
    public IReadOnlyList<Link> Links { get; private set; } = [];

    /// <summary>Called whenever a stage begins to wait, to work or to end, so that a test can tell when a run is at rest. Must not block.</summary>
    public Action? OnActivity { get; set; }

    /// <summary>Ends when all stages have started, or with the start-up failure.</summary>
    public Task Started => _started.Task;

    public Task<PipelineReport> Completion => _completion.Task;

    /// <summary>The same end as a value: never faults, never is cancelled.</summary>
    public Task<PipelineReport> Report => _report.Task;

    public Exception? Cause
    {
        get
        {
            lock (_gate)
                return _cause;
        }
    }

    public RunState State
    {
        get
        {
            lock (_gate)
                return StateLocked();
        }
    }

    /// <summary>Makes the logger of a stage's user code.</summary>
    public ILogger CreateLogger(string stage) => Loggers.CreateLogger(LogCategory.Of(Options.Name, stage));

    // ---- Start. ----------------------------------------------------------------------------------------------------------------------

    /// <summary>Starts all stages. Called once.</summary>
    public void Start(IReadOnlyList<StageNode> nodes, IReadOnlyList<Link> links, CancellationToken cancellationToken)
    {
        Nodes = nodes;
        Links = links;
        _notStarted = nodes.Count;
        _notEnded = nodes.Count;
        foreach (StageNode node in nodes)
        {
            foreach (Link output in node.Outputs)
                _writerOf.Add(output, node);
            if (node.DeadLetters is not null)
                _writerOf.Add(node.DeadLetters, node);
        }

        Log.RunStarted(Logger, Options.Name, nodes.Count);
        _watch = new ProgressWatch(this, Logger);
        if (cancellationToken.CanBeCanceled)
            _callerToken = cancellationToken.UnsafeRegister(static (state, token) => ((CompletionGraph)state!).Cancel(token), this);
        foreach (StageNode node in nodes)
            Own(Task.Run(node.ExecuteAsync, CancellationToken.None));
    }

    /// <summary>Waits until every stage has started or failed to, so that no source is read before.</summary>
    public Task WaitForStartAsync(CancellationToken cancellationToken) => _allReported.Task.WaitAsync(cancellationToken);

    /// <summary>A stage has started, or will not. Called once by each stage.</summary>
    public void OnStageStarted(StageNode node, bool hasStarted, StageFaultedException? failure)
    {
        if (hasStarted && failure is null)
            Log.StageStarted(Logger, node.Name);
        bool isLast;
        StageFaultedException? startFailure;
        RunState? outcome;
        CancellationToken token;
        lock (_gate)
        {
            if (node.Scope is null)
                _startFailure ??= failure;
            _hasUnstarted |= !hasStarted;
            isLast = --_notStarted == 0;

            // A stage that was told to give up before it had started: the run never was as it was to be.
            startFailure = _startFailure ?? (_hasUnstarted && _outcome == RunState.Faulted ? _cause : null);
            (outcome, token) = (_outcome, _cancelToken);
        }

        if (!isLast)
            return;
        if (startFailure is not null)
            SetObserved(_started, startFailure);
        else if (outcome == RunState.Canceled)
            _started.TrySetCanceled(token);
        else
            _started.TrySetResult();
        _allReported.TrySetResult();
    }

    // ---- What the owner of the run asks. Any thread, any time, any number of times. ------------------------------------------------------

    /// <summary>No more input; everything accepted is processed.</summary>
    public void Complete()
    {
        bool isFirst;
        lock (_gate)
        {
            if (_hasEnded)
                return;
            isFirst = _urgency < Urgency.Drain;
            if (isFirst)
                _urgency = Urgency.Drain;
        }

        if (isFirst)
            Log.RunDraining(Logger, Options.Name);

        // Also when another thread was first: it may not have come so far.
        StopSources(Nodes);
    }

    /// <summary>Gives up everything; the run is cancelled unless it has a cause already.</summary>
    public void Cancel(CancellationToken token)
    {
        lock (_gate)
        {
            if (_hasEnded)
                return;
            if (_outcome is null)
            {
                _outcome = RunState.Canceled;
                _cancelToken = token;
            }
        }

        Log.RunCanceling(Logger, Options.Name);
        Abort();
    }

    /// <summary>Completes the run now and cancels it if it has not ended at the deadline.</summary>
    public void Stop(TimeSpan deadline)
    {
        Complete();

        // Outside of the lock: a timer that is due at once may call back before it is there.
        ITimer? obsolete = Time.CreateTimer(static state => ((CompletionGraph)state!).Cancel(new CancellationToken(canceled: true)), this, deadline, Timeout.InfiniteTimeSpan);
        lock (_gate)
        {
            if (!_hasEnded)
                (obsolete, _cancelTimer) = (_cancelTimer, obsolete);
        }

        obsolete?.Dispose();
    }

    /// <summary>Faults the run from outside and gives up everything.</summary>
    public void Fault(Exception error)
    {
        var fault = new StageFaultedException(null, error);
        lock (_gate)
        {
            if (_hasEnded)
                return;
            ProposeFaultLocked(fault);
        }

        LogFault(fault, null);
        Abort();
    }

    // ---- What the stages report. ---------------------------------------------------------------------------------------------------------

    /// <summary>A stage failed and is giving up what it holds.</summary>
    public void OnStageFaulted(StageNode node, StageFaultedException fault)
    {
        if (node.Scope is { } scope)
        {
            AddSecondary(fault);
            if (scope.TryDetach())
                Log.BranchDetached(Logger, scope.Name, node.Name, fault.InnerException);
            DiscardUpstream(node, scope);
            StopSources(scope.Nodes);
            return;
        }

        lock (_gate)
        {
            if (_hasEnded)
                return;
            ProposeFaultLocked(fault);
            if (_urgency < Urgency.Drain)
                _urgency = Urgency.Drain;
        }

        LogFault(fault, node);
        if (Options.FaultMode == FaultMode.Abort)
        {
            Abort();
            return;
        }

        // In this order: a source upstream that were asked to stop first could still end as completed.
        DiscardUpstream(node, scope: null);
        StopSources(Nodes);
    }

    /// <summary>Makes the reader of a link the place of a failure that its writer noticed.</summary>
    public void FailReader(Link link, Exception error)
    {
        foreach (StageNode reader in Nodes.Where(n => n.Inputs.Contains(link)))
            reader.Fail(error);
    }

    /// <summary>Keeps an error that cannot change the outcome.</summary>
    public void AddSecondary(Exception error)
    {
        lock (_gate)
        {
            if (!_hasEnded)
                _secondary.Add(error);
        }

        Log.SecondaryError(Logger, Options.Name, error.Message, error);
    }

    /// <summary>A log that fails is no reason to fail; that it does is worth knowing, once.</summary>
    private void NoteLoggerFailure(Exception error)
    {
        lock (_gate)
        {
            if (!_hasEnded && !_hasLoggerFailed)
                _secondary.Add(error);
            _hasLoggerFailed = true;
        }
    }

    public void OnItemDiscarded(object? item, DiscardReason reason, StageNode stage)
    {
        if (Options.OnDiscarded is not { } callback)
            return;
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
    public RunState OutcomeFor(StageState own)
    {
        lock (_gate)
        {
            return _outcome ?? own switch
            {
                StageState.Faulted => RunState.Faulted,
                StageState.Canceled => RunState.Canceled,
                _ => RunState.Completed,
            };
        }
    }

    /// <summary>A drain after a fault has made no progress for too long.</summary>
    public void OnDrainStalled()
    {
        Log.DrainTimedOut(Logger, Options.Name, Options.DrainTimeout);
        Abort();
    }

    public bool IsDrainingAfterFault
    {
        get
        {
            lock (_gate)
                return !_hasEnded && _outcome == RunState.Faulted && _urgency == Urgency.Drain;
        }
    }

    public PipelineSnapshot Snapshot()
    {
        StageFaultedException? cause;
        Exception[] secondary;
        lock (_gate)
            (cause, secondary) = (_cause, [.. _secondary]);
        return new()
        {
            State = State,
            Stages = [.. Nodes.Select(static n => n.Report())],
            Links = [.. Links.Select(static l => ReportOf(l))],
            Duration = Time.GetElapsedTime(_startTimestamp),
            Cause = cause,
            SecondaryErrors = secondary,
            Abandoned = [.. Nodes.Where(static n => n.IsAbandoned).Select(static n => n.Name)],
        };
    }

    private static LinkReport ReportOf(Link link)
    {
        LinkCounts counts = link.Counts;
        return new LinkReport(link.From, link.To, link.Capacity, counts.Sent, counts.Received, counts.Discarded, counts.Dropped);
    }

    // ---- Inside. ---------------------------------------------------------------------------------------------------------------------------

    private void ProposeFaultLocked(StageFaultedException fault)
    {
        if (_outcome is null)
        {
            _outcome = RunState.Faulted;
            _cause = fault;
        }
        else
        {
            _secondary.Add(fault);
        }
    }

    private RunState StateLocked() => (_hasEnded, _outcome) switch
    {
        (true, { } outcome) => outcome,
        (true, null) => RunState.Completed,
        (false, RunState.Canceled) => RunState.Canceling,
        (false, RunState.Faulted) => RunState.Faulting,
        _ => _urgency == Urgency.Run ? RunState.Running : RunState.Draining,
    };

    private static void StopSources(IEnumerable<StageNode> nodes)
    {
        foreach (StageNode node in nodes)
            node.RaiseStop();
    }

    /// <summary>Tells every stage from which the failed one can be reached that its work is in vain.</summary>
    private void DiscardUpstream(StageNode failed, OptionalScope? scope)
    {
        var upstream = new HashSet<StageNode>();
        var next = new Queue<StageNode>([failed]);
        while (next.TryDequeue(out StageNode? node))
        {
            foreach (StageNode writer in node.Inputs.Select(l => _writerOf[l]))
            {
                // What lies before an optional branch goes on without it.
                if ((scope is null || scope.Nodes.Contains(writer)) && upstream.Add(writer))
                    next.Enqueue(writer);
            }
        }

        Discard(Nodes.Where(upstream.Contains), DiscardReason.Faulted);
    }

    /// <summary>Makes stages give up what they hold. All are decided before the first is told: its end would otherwise end its neighbours for another reason.</summary>
    private static void Discard(IEnumerable<StageNode> nodes, DiscardReason reason)
    {
        List<StageNode> decided = [.. nodes.Where(n => n.TryDecideDiscard(reason))];
        foreach (StageNode node in decided)
            node.RaiseDecided();
    }

    private void Abort()
    {
        lock (_gate)
        {
            if (_hasEnded || _urgency == Urgency.Abort)
                return;
            _urgency = Urgency.Abort;
        }

        ITimer? obsolete = Time.CreateTimer(static state => ((CompletionGraph)state!).AbandonRest(), this, Options.AbortTimeout, Timeout.InfiniteTimeSpan);
        lock (_gate)
        {
            if (!_hasEnded)
                (obsolete, _abandonTimer) = (null, obsolete);
        }

        obsolete?.Dispose();
        Discard(Nodes, DiscardReason.Canceled);
    }

    private void AbandonRest()
    {
        foreach (StageNode node in Nodes)
            node.Abandon();
    }

    private void LogFault(StageFaultedException fault, StageNode? node)
    {
        bool isCause;
        lock (_gate)
            isCause = ReferenceEquals(_cause, fault);
        if (isCause)
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
        RunState outcome;
        StageFaultedException? cause;
        CancellationToken token;
        lock (_gate)
        {
            _hasEnded = true;
            _abandonTimer?.Dispose();
            _cancelTimer?.Dispose();
            outcome = _outcome ?? RunState.Completed;
            (cause, token) = (_cause, _cancelToken);
        }

        PipelineSnapshot last = Snapshot();
        var report = new PipelineReport
        {
            State = outcome,
            Stages = last.Stages,
            Links = last.Links,
            Duration = last.Duration,
            Cause = cause,
            SecondaryErrors = last.SecondaryErrors,
            Abandoned = last.Abandoned,
        };
        Log.RunEnded(Logger, Options.Name, outcome, report.Duration);
        if (cause is not null)
            SetObserved(_completion, cause);
        else if (outcome == RunState.Canceled)
            _completion.TrySetCanceled(token);
        else
            _completion.TrySetResult(report);

        // Last, because who disposes a run waits for it and may look at Completion then.
        _report.TrySetResult(report);

        // Last, so that a run whose numbers are wrong ends all the same.
        ConservationLaw.Assert(report);
    }

    private static void SetObserved(TaskCompletionSource source, Exception error)
    {
        source.TrySetException(error);
        _ = source.Task.Exception;
    }

    private static void SetObserved<T>(TaskCompletionSource<T> source, Exception error)
    {
        source.TrySetException(error);
        _ = source.Task.Exception;
    }
}
