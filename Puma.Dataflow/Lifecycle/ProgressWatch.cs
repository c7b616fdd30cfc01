using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Lifecycle;

/// <summary>
/// Looks now and then whether a run still moves, and wakes who waits for a slot that is free. Queued work that stands still for the stall
/// time-out is warned of once, with the wait-for chain; a drain after a fault that stands still for the drain time-out becomes an abort.
/// </summary>
internal sealed class ProgressWatch : IDisposable
{
    /// <summary>How many looks fit in the shortest time-out; the time-outs are exact to one look.</summary>
    private const int LooksPerTimeout = 4;

    private readonly CompletionGraph _graph;
    private readonly ILogger _logger;
    private readonly ITimer _timer;
    private readonly Lock _gate = new();

    // Guarded by _gate: a slow look may overlap the next one.
    private long _lastProgress = -1;
    private long _lastChange;
    private bool _hasWarned;
    private long? _drainsSince;

    public ProgressWatch(CompletionGraph graph, ILogger logger)
    {
        _graph = graph;
        _logger = logger;
        _lastChange = graph.Time.GetTimestamp();
        TimeSpan shortest = graph.Options.StallTimeout > TimeSpan.Zero && graph.Options.StallTimeout < graph.Options.DrainTimeout
            ? graph.Options.StallTimeout
            : graph.Options.DrainTimeout;
        TimeSpan interval = TimeSpan.FromMilliseconds(Math.Max(1, shortest.TotalMilliseconds / LooksPerTimeout));
        _timer = graph.Time.CreateTimer(static state => ((ProgressWatch)state!).Look(), this, interval, interval);
    }

    public void Dispose() => _timer.Dispose();

    private void Look()
    {
        // A stage wakes its writer when half of the slots are free, and for fewer before it waits. From that, user code that blocks keeps it.
        foreach (StageNode node in _graph.Nodes)
            node.Links.FlushInputs();

        bool isDrainStalled;
        string? chain = null;
        TimeSpan still;
        lock (_gate)
        {
            long now = _graph.Time.GetTimestamp();
            long progress = _graph.Nodes.Sum(static n => n.Counters.Settled + n.Inputs.Sum(static l => l.Counts.Sent + l.Counts.Received + l.Counts.Discarded));
            if (progress != _lastProgress)
                (_lastProgress, _lastChange, _hasWarned) = (progress, now, false);
            if (!_graph.IsDrainingAfterFault)
                _drainsSince = null;
            else
                _drainsSince ??= now;

            still = _graph.Time.GetElapsedTime(_lastChange, now);
            isDrainStalled = _drainsSince is { } since
                && _graph.Time.GetElapsedTime(Math.Max(since, _lastChange), now) >= _graph.Options.DrainTimeout;
            TimeSpan stallTimeout = _graph.Options.StallTimeout;
            if (!_hasWarned && stallTimeout > TimeSpan.Zero && still >= stallTimeout && _graph.Nodes.Any(static n => n.Inputs.Any(static l => l.SlotsHeld > 0)))
            {
                _hasWarned = true;
                chain = string.Join("; ", WaitForChain.Of(_graph.ReportStages(), _graph.ReportLinks(), patience: TimeSpan.Zero));
            }
        }

        if (chain is not null)
            Log.Stalled(_logger, _graph.Options.Name, still, chain);
        if (isDrainStalled)
            _graph.OnDrainStalled();
    }
}
