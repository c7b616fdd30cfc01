using System.Globalization;
using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow;

/// <summary>Pictures of a run with its numbers.</summary>
public static class PipelineGraphs
{
    extension(PipelineSnapshot snapshot)
    {
        /// <summary>The run at this moment as a flowchart in the language of Mermaid: state, wait and counts of each stage, and how full each link is. Dead-letter links are dashed.</summary>
        /// <remarks>Stages that wait for a slot or for their next attempt are yellow, completed ones green, cancelled ones grey, faulted ones red.</remarks>
        public string ToMermaid()
        {
            ArgumentNullException.ThrowIfNull(snapshot);
            return MermaidText.Of(Draw(snapshot));
        }

        /// <summary>The same picture as <c>ToMermaid</c> in the language of Graphviz.</summary>
        public string ToDot()
        {
            ArgumentNullException.ThrowIfNull(snapshot);
            return DotText.Of(Draw(snapshot));
        }
    }

    private static GraphDrawing Draw(PipelineSnapshot snapshot) =>
        new([.. snapshot.Stages.Select(Draw)], [.. snapshot.Links.Select(l => Draw(l, snapshot.Stage(l.To)))]);

    private static DrawnStage Draw(StageReport stage)
    {
        string kind = stage.Kind == stage.Name ? "" : $"{stage.Kind}, ";
        string[] details = [$"{kind}{stage.State}", Wait(stage), Counts(stage)];
        return new DrawnStage(stage.Name, [.. details.Where(static d => d.Length > 0)], IsElsewhere: false, LookOf(stage));
    }

    private static string Wait(StageReport stage) => stage.Awaited(quote: "") is { } awaited ? $"waits for {awaited}" : "";

    private static string Counts(StageReport stage)
    {
        (string Name, long Count)[] counts =
        [
            ("accepted", stage.Accepted), ("in flight", stage.InFlight), ("delivered", stage.Delivered), ("skipped", stage.Skipped), ("dead-lettered", stage.DeadLettered),
            ("failed", stage.Failed), ("discarded", stage.Discarded), ("abandoned", stage.Abandoned), ("emitted", stage.Emitted), ("restarts", stage.Restarts),
        ];
        return string.Join(", ", counts.Where(static c => c.Count > 0).Select(static c => string.Create(CultureInfo.InvariantCulture, $"{c.Name} {c.Count}")));
    }

    private static StageLook LookOf(StageReport stage) => stage switch
    {
        { State: StageState.Completed } => StageLook.Completed,
        { State: StageState.Canceled } => StageLook.Canceled,
        { State: StageState.Faulted } => StageLook.Faulted,
        { Activity: StageActivity.WaitingForOutput or StageActivity.WaitingForRetry } => StageLook.Blocked,
        _ => StageLook.Plain,
    };

    private static DrawnLink Draw(LinkReport link, StageReport reader)
    {
        string dropped = link.Dropped > 0 ? string.Create(CultureInfo.InvariantCulture, $", dropped {link.Dropped}") : "";
        string label = string.Create(CultureInfo.InvariantCulture, $"{link.Queued}/{link.Capacity} queued, {link.Sent} sent{dropped}{(link.IsOptional ? ", optional" : "")}");
        return new DrawnLink(link.From, link.To, label, IsDashed: reader.Kind == DeadLetter.StageKind);
    }
}
