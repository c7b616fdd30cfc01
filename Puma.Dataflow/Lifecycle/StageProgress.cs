namespace Puma.Dataflow.Lifecycle;

/// <summary>In which state a stage is; each change is a report on the stage's board. Any thread.</summary>
internal sealed class StageProgress
{
    private readonly Lock _gate = new();
    private readonly TimeProvider _time;

    // Guarded by _gate.
    private StageState _now = StageState.Starting;
    private bool _isDraining;
    private bool _isRestarting;

    public StageProgress(TimeProvider time)
    {
        _time = time;
        Report();
    }

    public StatusBoard Board { get; } = new();

    public StageState Now
    {
        get
        {
            lock (_gate)
                return _now;
        }
    }

    /// <summary>The stage has started; if the run drains already, it drains from then on.</summary>
    public void Start()
    {
        lock (_gate)
        {
            if (_now != StageState.Starting)
                return;
            ChangeLocked(StageState.Running);
            ShowLocked();
        }
    }

    /// <summary>The run takes no more input.</summary>
    public void Drain()
    {
        lock (_gate)
        {
            _isDraining = true;
            ShowLocked();
        }
    }

    /// <summary>Whether a child of the stage is being replaced.</summary>
    public void ShowRestarting(bool isRestarting)
    {
        lock (_gate)
        {
            _isRestarting = isRestarting;
            ShowLocked();
        }
    }

    /// <summary>The stage has ended.</summary>
    public void End(StageState state)
    {
        lock (_gate)
            ChangeLocked(state);
        Board.End();
    }

    /// <summary>Shows what a stage that has started and not ended does.</summary>
    private void ShowLocked()
    {
        if (_now is StageState.Running or StageState.Draining or StageState.Restarting)
            ChangeLocked(_isRestarting ? StageState.Restarting : _isDraining ? StageState.Draining : StageState.Running);
    }

    private void ChangeLocked(StageState state)
    {
        if (_now == state)
            return;
        _now = state;
        Report();
    }

    private void Report() => Board.Add(new StatusReport<StageState>(_now, null, _time.GetUtcNow()));
}
