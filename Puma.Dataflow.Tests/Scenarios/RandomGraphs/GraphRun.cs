using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Testing;

namespace Puma.Dataflow.Tests.Scenarios.RandomGraphs;

/// <summary>Runs a random graph once and looks for anything that it must not do.</summary>
internal sealed class GraphRun
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    // What means that something got stuck or was left behind; the others are how failures are told.
    private static readonly int[] NeverLogged = [12, 30, 31];

    private readonly RandomGraph _graph;
    private readonly GraphContext _context;
    private readonly LogRecorder _log = new();
    private readonly CancellationTokenSource _caller = new();
    private readonly InjectedException _outside = new("faulted from outside");
    private readonly ConcurrentQueue<string> _problems = [];
    private readonly List<Task> _helpers = [];
    private PipelineRun? _run;

    private GraphRun(RandomGraph graph, Func<Work, Placement>? pickPlacement)
    {
        _graph = graph;
        _context = pickPlacement is null ? new GraphContext() : new GraphContext { PickPlacement = pickPlacement };
    }

    /// <summary>Makes and runs the graph of a seed.</summary>
    /// <returns>All that is wrong, with the graph and its numbers; null when nothing is.</returns>
    public static async Task<string?> TryAsync(int seed, Func<Work, Placement>? pickPlacement = null)
    {
        var graph = new RandomGraph(seed);
        var run = new GraphRun(graph, pickPlacement);
        try
        {
            using IDisposable published = run._context.Publish();
            await run.ExecuteAsync();
        }
        catch (Exception error)
        {
            run._problems.Enqueue(error.ToString());
        }

        return run._problems.IsEmpty ? null : $"""
            {string.Join(Environment.NewLine, run._problems)}
            {graph}
            {run._run?.Snapshot()}
            {string.Join(Environment.NewLine, run._log.Records.Where(static r => r.Level >= LogLevel.Warning))}
            Run it again with PUMA_GRAPH_SEED={seed}, and PUMA_GRAPHS for how many times.

            """;
    }

    private async Task ExecuteAsync()
    {
        var ready = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        foreach (Disturbance disturbance in _graph.Disturbances.Where(static d => d.At > 0))
            _context.At(disturbance.At, () => Own(DisturbAsync(disturbance, ready.Task)));

        PipelineOptions options = new() { Name = $"graph-{_graph.Seed}", LoggerFactory = _log, FaultMode = _graph.FaultMode, Links = _graph.Links };
        if (_graph.Source.Kind == SourceKind.Entry)
        {
            PipelineRun<long> run = _graph.End.Build(Step.BuildAll(_graph.Steps, _graph.Source.BuildEntry(), _context), _context).Build(options).Start(_caller.Token);
            _run = run;

            // All leases are open before the first one ends.
            List<PipelineSender<long>> senders = [.. Enumerable.Range(0, _graph.Source.Senders).Select(_ => run.OpenSender())];
            for (int i = 0; i < senders.Count; i++)
                Own(SendAsync(senders[i], i));
        }
        else
        {
            _run = _graph.End.Build(Step.BuildAll(_graph.Steps, _graph.Source.Build(), _context), _context).Build(options).Start(_caller.Token);
        }

        ready.SetResult();
        foreach (Disturbance disturbance in _graph.Disturbances.Where(static d => d.At == 0))
            Own(DisturbAsync(disturbance, ready.Task));

        PipelineReport report;
        try
        {
            report = await _run.Report.WaitAsync(Limit);
        }
        catch (TimeoutException)
        {
            _problems.Enqueue($"The run did not end within {Limit}.");
            return;
        }

        Task[] helpers;
        lock (_helpers)
            helpers = [.. _helpers];
        await Task.WhenAll(helpers).WaitAsync(Limit);
        Verify(report);
    }

    private void Own(Task task)
    {
        lock (_helpers)
            _helpers.Add(task);
    }

    private async Task SendAsync(PipelineSender<long> sender, int index)
    {
        using (sender)
        {
            for (int i = index; i < _graph.Source.Values.Count; i += _graph.Source.Senders)
            {
                try
                {
                    await sender.SendAsync(_graph.Source.Values[i]);
                }
                catch (PipelineClosedException)
                {
                    return;
                }
            }
        }
    }

    private async Task DisturbAsync(Disturbance disturbance, Task ready)
    {
        await ready;
        PipelineRun run = _run!;
        switch (disturbance.Kind)
        {
            case Interference.Complete:
                run.Complete();
                break;
            case Interference.Cancel:
                run.Cancel();
                break;
            case Interference.CancelByToken:
                await _caller.CancelAsync();
                break;
            case Interference.Fault:
                run.Fault(_outside);
                break;
            case Interference.Finish:
                IReadOnlyList<StageReport> stages = run.Snapshot().Stages;
                await run.Stage(stages[disturbance.Stage % stages.Count].Name).FinishAsync();
                break;
            case Interference.StopSoon:
                await run.StopAsync(TimeSpan.FromSeconds(20));
                break;
            case Interference.StopAtOnce:
                await run.StopAsync(TimeSpan.Zero);
                break;
            case Interference.Dispose:
                await run.DisposeAsync();
                break;
            default:
                foreach (StageReport s in run.Snapshot().Stages.Where(static s => s.KeepsLedger))
                {
                    if (s.Delivered + s.Skipped + s.DeadLettered + s.Failed + s.Discarded + s.Abandoned > s.Accepted)
                        _problems.Enqueue($"A snapshot shows more items settled than accepted: {s}");
                }

                break;
        }
    }

    private void Verify(PipelineReport report)
    {
        report.AssertConserved();
        VerifyOutcome(report);
        VerifyErrors(report);
        VerifySinks(report);
        if (report.Abandoned.Count > 0)
            _problems.Enqueue($"Abandoned: {string.Join(", ", report.Abandoned)}");
        foreach (LogRecord record in _log.Records.Where(static r => NeverLogged.Contains(r.EventId.Id)))
            _problems.Enqueue($"Logged: {record.Message}");
    }

    private bool Happened(params ReadOnlySpan<Interference> kinds)
    {
        foreach (Interference kind in kinds)
        {
            if (_graph.Disturbances.Any(d => d.Kind == kind))
                return true;
        }

        return false;
    }

    private bool IsDisturbed => _graph.Disturbances.Any(static d => d.Kind != Interference.Snapshot);

    private List<Work> FatalStages => [.. _graph.Works.Where(static w => !w.IsOptional && w.FatalItems.Any())];

    private void VerifyOutcome(PipelineReport report)
    {
        var allowed = new HashSet<RunState>();
        bool hasFault = FatalStages.Count > 0;

        // Whether the failing item is ever reached may depend on the timing.
        bool mustFault = hasFault && !_graph.HasTake && !_graph.HasOptional && !IsDisturbed && _graph.Predict().Sinks.Values.All(static f => f.Knowledge == Knowledge.Exact);
        if (!mustFault)
            allowed.Add(RunState.Completed);
        if (hasFault || Happened(Interference.Fault))
            allowed.Add(RunState.Faulted);
        if (Happened(Interference.Cancel, Interference.CancelByToken, Interference.StopAtOnce, Interference.Dispose))
            allowed.Add(RunState.Canceled);
        if (!allowed.Contains(report.State))
            _problems.Enqueue($"The run ended {report.State}, but only {string.Join(", ", allowed)} is possible.");
        TaskStatus expected = report.State switch
        {
            RunState.Completed => TaskStatus.RanToCompletion,
            RunState.Canceled => TaskStatus.Canceled,
            _ => TaskStatus.Faulted,
        };

        // The report is there before its completion, by a moment.
        SpinWait.SpinUntil(() => _run!.Completion.IsCompleted, Limit);
        if (_run!.Completion.Status != expected || _run.State != report.State)
            _problems.Enqueue($"The report says {report.State}, the completion {_run.Completion.Status}, the run {_run.State}.");
        if (report.State == RunState.Completed && !_graph.HasOptional && report.Stages.FirstOrDefault(static s => s.State != StageState.Completed) is { } stage)
            _problems.Enqueue($"The run completed, but its stage {stage.Name} ended {stage.State}.");
    }

    private void VerifyErrors(PipelineReport report)
    {
        if ((report.Cause is null) != (report.State != RunState.Faulted))
            _problems.Enqueue($"The run ended {report.State} with cause {report.Cause?.Message ?? "none"}.");
        if (report.Cause is { } cause)
        {
            bool isFromOutside = ReferenceEquals(cause.InnerException, _outside);
            if (isFromOutside ? cause.Stage is not null : !FatalStages.Exists(s => s.Name == cause.Stage))
                _problems.Enqueue($"Nothing was to fail there: {cause}");
            if (!isFromOutside && !IsOurs(cause))
                _problems.Enqueue($"The cause is none of ours: {cause}");
        }

        foreach (Exception error in report.SecondaryErrors)
        {
            if (error is not StageFaultedException { InnerException: PipelineFullException } && !(error is StageFaultedException fault && IsOurs(fault)))
                _problems.Enqueue($"Secondary error that is none of ours: {error}");
        }
    }

    private static bool IsOurs(StageFaultedException fault) => fault.IsCausedBy<InjectedException>() || fault.IsCausedBy<InjectedCancellation>();

    private void VerifySinks(PipelineReport report)
    {
        Prediction prediction = _graph.Predict();
        bool isWhole = report.State == RunState.Completed && !IsDisturbed;
        Prediction? least = LeastArrivals(report);
        foreach ((Sink sink, Flow flow) in prediction.Sinks)
        {
            // An optional branch may have been detached, which cuts its own sinks short and no others.
            bool mayBeCut = sink.Work.IsOptional;
            IReadOnlyList<long> arrived = sink.TakeArrived();

            // A TPL block that is faulted drops what it holds while it still takes items from it, so one may get through behind a dropped one. When
            // both take at once, out of a queue that is made for one taker, it handles the default of its type.
            bool mayHaveGaps = sink.IsForeign && (report.State != RunState.Completed || mayBeCut);
            if (mayHaveGaps)
                arrived = [.. arrived.Where(static x => x != default)];
            if ((mayHaveGaps ? flow.Dropping() : flow).Mismatch(arrived, isWhole && !mayBeCut) is { } problem)
                _problems.Enqueue($"Sink {sink.Work.Name}: {problem}.");
            if (least?.Sinks[sink] is { IsBehindCut: true, IsSequence: true } must && arrived.Count < must.Values.Count)
                _problems.Enqueue($"Sink {sink.Work.Name} holds {arrived.Count} items, but {must.Values.Count} come from items before the failing one.");
        }

        if (!isWhole || _graph.HasOptional)
            return;
        long expectedLetters = report.Stages.Sum(static s => s.Kind == "dead-letters" ? 0 : s.DeadLettered);
        if (_context.DeadLetters.Count != expectedLetters)
            _problems.Enqueue($"{_context.DeadLetters.Count} dead letters arrived, {expectedLetters} were counted.");
    }

    /// <summary>What must arrive when one item of a chain fails: all that comes from the items before it.</summary>
    private Prediction? LeastArrivals(PipelineReport report)
    {
        if (report.State != RunState.Faulted || IsDisturbed || _graph.FaultMode == FaultMode.Abort || _graph.HasFanIn || _graph.HasTake || _graph.HasForeign || _graph.HasOptional || FatalStages.Count != 1)
            return null;
        List<long> items = [.. FatalStages[0].FatalItems];
        return items.Count == 1 && FatalStages[0].KeepsOrder ? _graph.Predict((FatalStages[0], items[0])) : null;
    }
}
