using System.Diagnostics;

namespace Puma.Dataflow.Lifecycle;

/// <summary>Every item that was accepted has one fate, and every item that was sent was received or discarded.</summary>
internal static class ConservationLaw
{
    /// <summary>The stages and links of an ended run for which the equations do not hold, each with its numbers.</summary>
    public static IReadOnlyList<string> Violations(PipelineReport report)
    {
        var violations = new List<string>();
        foreach (StageReport s in report.Stages.Where(static s => s.KeepsLedger))
        {
            long fates = s.Delivered + s.Skipped + s.DeadLettered + s.Failed + s.Discarded + s.Abandoned;
            if (s.Accepted != fates)
                violations.Add($"Stage '{s.Name}' accepted {s.Accepted} items but {fates} have a fate: delivered {s.Delivered}, skipped {s.Skipped}, dead-lettered {s.DeadLettered}, failed {s.Failed}, discarded {s.Discarded}, abandoned {s.Abandoned}.");
            if (s.Capacity > 0 && s.MaxSlotsHeld > s.Capacity)
                violations.Add($"Stage '{s.Name}' held {s.MaxSlotsHeld} slots of {s.Capacity}.");
        }

        foreach (LinkReport l in report.Links.Where(static l => l.Sent != l.Received + l.Discarded))
            violations.Add($"Link '{l.From}' -> '{l.To}' was sent {l.Sent} items, but {l.Received} were received and {l.Discarded} discarded.");
        return violations;
    }

    [Conditional("DEBUG")]
    public static void Assert(PipelineReport report)
    {
        IReadOnlyList<string> violations = Violations(report);
        Debug.Assert(violations.Count == 0, string.Join(Environment.NewLine, violations));
    }
}
