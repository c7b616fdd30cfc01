using System.Globalization;
using System.Text;

namespace Puma.Dataflow;

/// <summary>What became of the items of one stage.</summary>
/// <remarks>When a stage has ended, <c>Accepted = Delivered + Skipped + DeadLettered + Failed + Discarded + Abandoned</c>.</remarks>
public sealed record StageReport
{
    /// <summary>The name of the stage.</summary>
    public required string Name { get; init; }

    /// <summary>What kind of stage it is, for example <c>transform</c>.</summary>
    public required string Kind { get; init; }

    /// <summary>The state of the stage.</summary>
    public StageState State { get; init; }

    /// <summary>Why the stage ended.</summary>
    public EndReason EndReason { get; init; }

    /// <summary>What the stage does at this moment.</summary>
    public StageActivity Activity { get; init; }

    /// <summary>The stage whose input is full, while this one waits for a slot there.</summary>
    public string? WaitsFor { get; init; }

    /// <summary>Items that took a slot of an input of this stage. Zero for a source.</summary>
    public long Accepted { get; init; }

    /// <summary>Items whose handler returned and whose outputs were accepted.</summary>
    public long Delivered { get; init; }

    /// <summary>Items that failed and were left out by <see cref="ErrorPolicy.Skip"/>.</summary>
    public long Skipped { get; init; }

    /// <summary>Items that failed and went to a dead-letter target.</summary>
    public long DeadLettered { get; init; }

    /// <summary>Items that failed and made the stage fault.</summary>
    public long Failed { get; init; }

    /// <summary>Items that were given up because of a fault, a cancellation, a missing partner, a full branch or missing demand.</summary>
    public long Discarded { get; init; }

    /// <summary>Items in handlers that did not return in time.</summary>
    public long Abandoned { get; init; }

    /// <summary>Outputs that the stage handed over, counted for each link.</summary>
    public long Emitted { get; init; }

    /// <summary>How often an instance was made anew after its process was lost.</summary>
    public long Restarts { get; init; }

    /// <summary>Outputs that a replay after the loss of a child passed on once more; part of <see cref="Emitted"/>. Never any for a stage that makes one output of each item.</summary>
    public long Repeated { get; init; }

    /// <summary>Items that wait to be handled.</summary>
    public long Queued { get; init; }

    /// <summary>Items whose handling has started and not ended.</summary>
    public long InFlight { get; init; }

    /// <summary>The capacity of the inputs together.</summary>
    public long Capacity { get; init; }

    /// <summary>Slots in use, of the inputs together.</summary>
    public long SlotsHeld { get; init; }

    /// <summary>The most slots that were in use at once, of the inputs together.</summary>
    public long MaxSlotsHeld { get; init; }

    /// <summary>How long ago the burst was taken that the oldest item in work belongs to.</summary>
    public TimeSpan OldestItemAge { get; init; }

    /// <summary>How long the stage has spent with what.</summary>
    public StageTimes Times { get; init; } = new(default, default, default, default, default, default, default);

    /// <summary>Whether the equation of the counts holds; not for a foreign block, which reports accepted and emitted only.</summary>
    public bool KeepsLedger { get; init; }

    /// <summary>The counts in a line for people, without those that are zero.</summary>
    public override string ToString()
    {
        (long Count, string What)[] counts =
        [
            (Accepted, "accepted"), (Delivered, "delivered"), (Skipped, "skipped"), (DeadLettered, "dead-lettered"), (Failed, "failed"), (Discarded, "discarded"),
            (Abandoned, "abandoned"), (Emitted, "emitted"), (Repeated, "repeated"), (Queued, "queued"), (InFlight, "in work"), (Restarts, "restarts"),
        ];
        string shown = string.Join(", ", counts.Where(static c => c.Count > 0).Select(static c => string.Create(CultureInfo.InvariantCulture, $"{c.Count} {c.What}")));
        string waits = Awaited() is { } awaited ? $"; waits for {awaited}" : "";
        return $"{Kind} '{Name}' {State}{(EndReason == EndReason.None ? "" : $" ({EndReason})")}: {(shown.Length > 0 ? shown : "no items")}{waits}";
    }

    /// <summary>What the stage waits for, in words; null when it does not wait.</summary>
    /// <param name="quote">What a name is put into.</param>
    internal string? Awaited(string quote = "'") => Activity switch
    {
        StageActivity.WaitingForOutput when this is { WaitsFor: null, Kind: "broadcast" } => "a branch",
        StageActivity.WaitingForOutput => $"a slot of {quote}{WaitsFor}{quote}",
        StageActivity.WaitingForInput => "items",
        StageActivity.WaitingForRetry => "its next attempt",
        StageActivity.WaitingForForeignCode => "foreign code",
        _ => null,
    };
}

/// <summary>What went over one link.</summary>
/// <remarks>When the run has ended, <c>Sent = Received + Discarded</c>.</remarks>
/// <param name="From">The writing stage.</param>
/// <param name="To">The reading stage.</param>
/// <param name="Capacity">The most items that it may hold.</param>
/// <param name="Sent">Items handed over, drops included.</param>
/// <param name="Received">Items whose handling started.</param>
/// <param name="Discarded">Items that were never handled, drops included.</param>
/// <param name="Dropped">Items that a full link dropped; part of <paramref name="Discarded"/>.</param>
public sealed record LinkReport(string From, string To, int Capacity, long Sent, long Received, long Discarded, long Dropped)
{
    /// <summary>Items that wait to be read.</summary>
    public int Queued { get; init; }

    /// <summary>Slots in use: by items that wait, and by those that the reader has not settled.</summary>
    public int SlotsHeld { get; init; }

    /// <summary>Whether it leads into a branch that may fault alone.</summary>
    public bool IsOptional { get; init; }
}

/// <summary>A run at one moment.</summary>
public record PipelineSnapshot
{
    /// <summary>The state of the run.</summary>
    public required RunState State { get; init; }

    /// <summary>The stages, in the order in which they were written; those of attached branches last.</summary>
    public required IReadOnlyList<StageReport> Stages { get; init; }

    /// <summary>The links between them.</summary>
    public required IReadOnlyList<LinkReport> Links { get; init; }

    /// <summary>How long the run has lasted.</summary>
    public TimeSpan Duration { get; init; }

    /// <summary>What faulted the run; null when it completed or was cancelled, or has not ended yet and nothing has failed.</summary>
    public StageFaultedException? Cause { get; init; }

    /// <summary>Failures that came after the cause, or that could not fault the run, in time order.</summary>
    /// <value>Empty by default.</value>
    public IReadOnlyList<Exception> SecondaryErrors { get; init; } = [];

    /// <summary>The stages that were left behind because user code did not return in time.</summary>
    /// <value>Empty by default.</value>
    public IReadOnlyList<string> Abandoned { get; init; } = [];

    /// <summary>
    /// Who waits for whom: first a stage that is held up, then what it waits for, and so on. Empty when no stage is held up.
    /// </summary>
    /// <remarks>
    /// A stage is held up while it waits for a slot or for its next attempt, waits for a partner, for more input or for foreign code with items in its hands,
    /// or has been at the same work for <see cref="PipelineOptions.StallTimeout"/>. Every run is held up for a moment where its slowest stage is; one that
    /// stands still shows the same chain, and the same counts, again and again.
    /// </remarks>
    /// <value>Empty by default.</value>
    public IReadOnlyList<string> WaitForChain { get; init; } = [];

    /// <summary>The numbers of a stage.</summary>
    /// <param name="name">The stage's name.</param>
    /// <exception cref="ArgumentException">There is no such stage.</exception>
    public StageReport Stage(string name) =>
        Stages.FirstOrDefault(s => s.Name == name)
        ?? throw new ArgumentException($"There is no stage '{name}'. The stages are: {string.Join(", ", Stages.Select(static s => s.Name))}.", nameof(name));

    /// <summary>A table for people.</summary>
    public sealed override string ToString()
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"{State} after {Duration.TotalSeconds:0.000} s");
        int width = Math.Max(5, Stages.Count == 0 ? 0 : Stages.Max(static s => s.Name.Length));
        text.AppendLine(CultureInfo.InvariantCulture, $"{"stage".PadRight(width)}  {"state",-9}  {"accepted",10}  {"delivered",10}  {"skipped",8}  {"dead",8}  {"failed",7}  {"discarded",9}  {"abandoned",9}  {"emitted",10}  {"queued",7}  {"working s",9}  {"blocked s",9}  waits for");
        foreach (StageReport s in Stages)
        {
            string waits = s is { Activity: StageActivity.Ended, EndReason: not EndReason.InputEnded } ? $"({s.EndReason})" : s.Awaited() ?? "";
            text.AppendLine(CultureInfo.InvariantCulture, $"{s.Name.PadRight(width)}  {s.State,-9}  {s.Accepted,10}  {s.Delivered,10}  {s.Skipped,8}  {s.DeadLettered,8}  {s.Failed,7}  {s.Discarded,9}  {s.Abandoned,9}  {s.Emitted,10}  {s.Queued,7}  {s.Times.Working.TotalSeconds,9:0.000}  {s.Times.WaitingForOutput.TotalSeconds,9:0.000}  {waits}");
        }

        string restarts = string.Join(", ", Stages.Where(static s => s.Restarts > 0).Select(static s => $"{s.Name} {s.Restarts}"));
        if (restarts.Length > 0)
            text.AppendLine(CultureInfo.InvariantCulture, $"restarts: {restarts}");
        foreach (string step in WaitForChain)
            text.AppendLine(CultureInfo.InvariantCulture, $"waiting: {step}");
        if (Cause is not null)
            text.AppendLine(CultureInfo.InvariantCulture, $"cause: {Cause.Message}");
        foreach (Exception error in SecondaryErrors)
            text.AppendLine(CultureInfo.InvariantCulture, $"also: {ExceptionText.MessageOf(error)}");
        if (Abandoned.Count > 0)
            text.AppendLine(CultureInfo.InvariantCulture, $"abandoned: {string.Join(", ", Abandoned)}");
        return text.ToString();
    }
}

/// <summary>How a run ended.</summary>
public sealed record PipelineReport : PipelineSnapshot;
