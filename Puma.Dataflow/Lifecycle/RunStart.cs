namespace Puma.Dataflow.Lifecycle;

/// <summary>Gathers from the stages of a run whether they have started, and tells when all have, or why they have not.</summary>
internal sealed class RunStart(RunEnding ending)
{
    private readonly Lock _gate = new();
    private readonly TaskCompletionSource _allReported = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _started = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Guarded by _gate. Nobody changes them after the last report.
    private int _missing;
    private bool _hasUnstarted;
    private StageFaultedException? _failure;

    /// <summary>Ends when all stages have started, or with the start-up failure.</summary>
    public Task Started => _started.Task;

    /// <summary>Ends when each stage has started or failed to; never faults.</summary>
    public Task AllReported => _allReported.Task;

    /// <summary>Says how many stages will report. Called once, before the first of them runs.</summary>
    public void Expect(int stages) => _missing = stages;

    /// <summary>A stage has started, or will not. Called once for each stage.</summary>
    /// <param name="hasStarted">Whether it has.</param>
    /// <param name="failure">Why it has not, if that is a failure of the run.</param>
    public void Report(bool hasStarted, StageFaultedException? failure)
    {
        lock (_gate)
        {
            _failure ??= failure;
            _hasUnstarted |= !hasStarted;
            if (--_missing > 0)
                return;
        }

        // A stage that was told to give up before it had started: the run never was as it was to be.
        RunDecision decision = ending.Decision;
        StageFaultedException? startFailure = _failure ?? (_hasUnstarted ? decision.Cause : null);
        if (startFailure is not null)
            _started.SetObserved(startFailure);
        else if (decision.Outcome == RunState.Canceled)
            _started.TrySetCanceled(decision.CancelToken);
        else
            _started.TrySetResult();
        _allReported.TrySetResult();
    }
}
