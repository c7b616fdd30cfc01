namespace Puma.Dataflow.Lifecycle;

/// <summary>How soon a run is to end. It only rises.</summary>
internal enum Urgency
{
    Run,
    Drain,
    Abort,
}

/// <summary>What a run comes to, as far as it is decided.</summary>
/// <param name="Outcome">The outcome; null while there is no cause for another than completed.</param>
/// <param name="Cause">The failure, when the run is faulted.</param>
/// <param name="CancelToken">Whose cancellation it was, when the run is cancelled.</param>
internal readonly record struct RunDecision(RunState? Outcome, StageFaultedException? Cause, CancellationToken CancelToken);

/// <summary>
/// Decides what a run comes to (S2): the first cause, a cancel or a fault, fixes the outcome, later ones are secondary errors, and the
/// urgency only rises. When the run has ended, nothing changes any more. Any thread.
/// </summary>
internal sealed class RunEnding
{
    private readonly Lock _gate = new();

    // Guarded by _gate, which is never held while anything else is called.
    private readonly List<Exception> _secondary = [];
    private Urgency _urgency;
    private RunDecision _decision;
    private bool _hasEnded;

    public RunDecision Decision
    {
        get
        {
            lock (_gate)
                return _decision;
        }
    }

    public bool HasEnded
    {
        get
        {
            lock (_gate)
                return _hasEnded;
        }
    }

    /// <summary>Whether nothing is decided yet and more input is taken.</summary>
    public bool IsOpen
    {
        get
        {
            lock (_gate)
                return !_hasEnded && _urgency == Urgency.Run;
        }
    }

    public bool IsDrainingAfterFault
    {
        get
        {
            lock (_gate)
                return !_hasEnded && _decision.Outcome == RunState.Faulted && _urgency == Urgency.Drain;
        }
    }

    public RunState State
    {
        get
        {
            lock (_gate)
            {
                return (_hasEnded, _decision.Outcome) switch
                {
                    (true, { } outcome) => outcome,
                    (true, null) => RunState.Completed,
                    (false, RunState.Canceled) => RunState.Canceling,
                    (false, RunState.Faulted) => RunState.Faulting,
                    _ => _urgency == Urgency.Run ? RunState.Running : RunState.Draining,
                };
            }
        }
    }

    /// <summary>The cause and the errors that cannot change the outcome, of the same moment.</summary>
    public (StageFaultedException? Cause, IReadOnlyList<Exception> Secondary) Errors
    {
        get
        {
            lock (_gate)
                return (_decision.Cause, [.. _secondary]);
        }
    }

    /// <summary>Raises the urgency.</summary>
    /// <returns>False when it is as high already, or the run has ended.</returns>
    public bool TryRaise(Urgency urgency)
    {
        lock (_gate)
        {
            if (_hasEnded || _urgency >= urgency)
                return false;
            _urgency = urgency;
            return true;
        }
    }

    /// <summary>Makes the run cancelled, if nothing else is decided.</summary>
    /// <returns>False when the run has ended.</returns>
    public bool ProposeCanceled(CancellationToken token)
    {
        lock (_gate)
        {
            if (!_hasEnded && _decision.Outcome is null)
                _decision = new RunDecision(RunState.Canceled, Cause: null, token);
            return !_hasEnded;
        }
    }

    /// <summary>Makes the run faulted, if nothing else is decided; else the fault is a secondary error.</summary>
    /// <returns>False when the run has ended.</returns>
    public bool ProposeFaulted(StageFaultedException fault)
    {
        lock (_gate)
        {
            if (_hasEnded)
                return false;
            if (_decision.Outcome is null)
                _decision = new RunDecision(RunState.Faulted, fault, CancelToken: default);
            else
                _secondary.Add(fault);
            return true;
        }
    }

    /// <summary>Keeps an error that cannot change the outcome.</summary>
    public void AddSecondary(Exception error)
    {
        lock (_gate)
        {
            if (!_hasEnded)
                _secondary.Add(error);
        }
    }

    /// <summary>Ends the run: what is decided now stays.</summary>
    public RunDecision End()
    {
        lock (_gate)
        {
            _hasEnded = true;
            return _decision;
        }
    }
}
