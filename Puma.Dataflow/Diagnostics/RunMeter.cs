using System.Diagnostics.Metrics;
using System.Numerics;

namespace Puma.Dataflow.Diagnostics;

/// <summary>
/// The meter of all pipelines of this process. Its instruments read the counters that runs keep anyway, when somebody observes them;
/// docs/monitoring.md lists them.
/// </summary>
internal static class RunMeter
{
    public const string Name = "Puma.Dataflow";

    private const string Items = "{item}", Slots = "{slot}", Runs = "{run}", Seconds = "s";

    private static readonly Meter Meter = new(Name);

    /// <summary>Guards the live runs, and what the instruments keep of those that ended: a run is in one of the two at any moment. No run is asked for its numbers inside of it, because one may be stuck.</summary>
    private static readonly Lock Gate = new();

    // Guarded by Gate.
    private static readonly HashSet<IMeteredRun> Live = [];

    private static readonly RunInstrument[] Instruments =
    [
        Sum<IMeteredRun, long>(isTotal: false, "puma.runs.active", Runs, "Runs that have not ended.", PipelineTags, static run => [run], static _ => 1),
        Sum<RunState, long>(isTotal: true, "puma.runs.ended", Runs, "Runs that have ended.", OutcomeTags, static run => IsOver(run.State) ? [run.State] : [], static _ => 1),

        StageTotal("puma.stage.items.accepted", Items, "Items that took a slot of an input.", static s => s.Accepted),
        StageTotal("puma.stage.items.delivered", Items, "Items whose handler returned and whose outputs were accepted; of a foreign block when it has ended.", static s => s.KeepsLedger || s.Activity == StageActivity.Ended ? s.Delivered : 0),
        StageTotal("puma.stage.items.skipped", Items, "Items that failed and were left out.", static s => s.Skipped),
        StageTotal("puma.stage.items.dead_lettered", Items, "Items that failed and went to a dead-letter target.", static s => s.DeadLettered),
        StageTotal("puma.stage.items.failed", Items, "Items that failed and made the stage fault.", static s => s.Failed),
        StageTotal("puma.stage.items.discarded", Items, "Items that were given up.", static s => s.Discarded),
        StageTotal("puma.stage.items.abandoned", Items, "Items in handlers that did not return in time.", static s => s.Abandoned),
        StageTotal("puma.stage.items.emitted", Items, "Outputs that were handed over, counted for each link.", static s => s.Emitted),
        StageTotal("puma.stage.items.repeated", Items, "Outputs that a replay after the loss of a child handed over once more.", static s => s.Repeated),
        StageTotal("puma.stage.restarts", "{restart}", "Instances that were made anew after their process was lost.", static s => s.Restarts),
        StageTotal("puma.stage.time.working", Seconds, "Time spent in user code or with moving items.", static s => s.Times.Working.TotalSeconds),
        StageTotal("puma.stage.time.blocked", Seconds, "Time spent waiting for a slot of the next stage.", static s => s.Times.WaitingForOutput.TotalSeconds),
        StageLevel("puma.stage.items.queued", Items, "Items that wait to be handled.", static s => s.Queued),
        StageLevel("puma.stage.items.in_flight", Items, "Items whose handling has started and not ended.", static s => s.InFlight),
        StageLevel("puma.stage.slots.held", Slots, "Slots in use, of all inputs together.", static s => s.Activity == StageActivity.Ended ? 0 : s.SlotsHeld),
        StageLevel("puma.stage.slots.limit", Slots, "The capacity of all inputs together.", static s => s.Activity == StageActivity.Ended ? 0 : s.Capacity),

        LinkTotal("puma.link.items.sent", Items, "Items that the writer handed over, drops included.", static l => l.Sent),
        LinkTotal("puma.link.items.received", Items, "Items whose handling started.", static l => l.Received),
        LinkTotal("puma.link.items.discarded", Items, "Items that were never handled, drops included.", static l => l.Discarded),
        LinkTotal("puma.link.items.dropped", Items, "Items that were dropped because the link was full.", static l => l.Dropped),
        LinkLevel("puma.link.items.queued", Items, "Items that wait to be read.", static l => l.Queued),
        LinkLevel("puma.link.slots.held", Slots, "Slots in use.", static l => l.SlotsHeld),
        LinkLevel("puma.link.slots.limit", Slots, "The capacity.", static l => l.Capacity),
    ];

    /// <summary>A run has begun.</summary>
    public static void Add(IMeteredRun run)
    {
        lock (Gate)
            Live.Add(run);
    }

    /// <summary>A run has ended: its totals are kept, if anybody listens or has.</summary>
    public static void Remove(IMeteredRun run, PipelineReport report)
    {
        var ended = new EndedRun(run.Pipeline, report);
        lock (Gate)
        {
            if (!Live.Remove(run))
                return;
            foreach (RunInstrument instrument in Instruments)
                instrument.Keep(ended);
        }
    }

    private static bool IsOver(RunState state) => state is RunState.Completed or RunState.Canceled or RunState.Faulted;

    private static RunTags PipelineTags(IMeteredRun run, IMeteredRun same) => new(run.Pipeline);

    private static RunTags OutcomeTags(IMeteredRun run, RunState outcome) => new(run.Pipeline, (TagNames.Outcome, outcome.ToString()));

    private static RunTags StageTags(IMeteredRun run, StageReport stage) => new(run.Pipeline, (TagNames.Stage, stage.Name), (TagNames.Kind, stage.Kind));

    private static RunTags LinkTags(IMeteredRun run, LinkReport link) => new(run.Pipeline, (TagNames.From, link.From), (TagNames.To, link.To));

    private static RunInstrument StageTotal<TValue>(string name, string unit, string description, Func<StageReport, TValue> read)
        where TValue : struct, INumber<TValue> =>
        Sum(isTotal: true, name, unit, description, StageTags, static run => run.ReportStages(), read);

    private static RunInstrument StageLevel(string name, string unit, string description, Func<StageReport, long> read) =>
        Sum(isTotal: false, name, unit, description, StageTags, static run => run.ReportStages(), read);

    private static RunInstrument LinkTotal(string name, string unit, string description, Func<LinkReport, long> read) =>
        Sum(isTotal: true, name, unit, description, LinkTags, static run => run.ReportLinks(), read);

    private static RunInstrument LinkLevel(string name, string unit, string description, Func<LinkReport, long> read) =>
        Sum(isTotal: false, name, unit, description, LinkTags, static run => run.ReportLinks(), read);

    private static RunInstrument Sum<TReport, TValue>(
        bool isTotal, string name, string unit, string description, Func<IMeteredRun, TReport, RunTags> tags, Func<IMeteredRun, IReadOnlyList<TReport>> reports, Func<TReport, TValue> read)
        where TValue : struct, INumber<TValue>
    {
        var sum = new RunSum<TReport, TValue>(Gate, Live, tags, reports, read, isTotal);
        sum.Instrument = isTotal ? Meter.CreateObservableCounter(name, sum.Observe, unit, description) : Meter.CreateObservableUpDownCounter(name, sum.Observe, unit, description);
        return sum;
    }

    /// <summary>The last numbers of a run.</summary>
    private sealed class EndedRun(string pipeline, PipelineReport report) : IMeteredRun
    {
        public string Pipeline => pipeline;

        public RunState State => report.State;

        public IReadOnlyList<StageReport> ReportStages() => report.Stages;

        public IReadOnlyList<LinkReport> ReportLinks() => report.Links;
    }
}
