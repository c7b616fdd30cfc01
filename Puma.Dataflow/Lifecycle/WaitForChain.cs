using System.Text;

namespace Puma.Dataflow.Lifecycle;

/// <summary>Tells who waits for whom.</summary>
internal static class WaitForChain
{
    public static string Describe(IReadOnlyList<StageNode> nodes)
    {
        var text = new StringBuilder();
        foreach (StageNode node in nodes.Where(static n => n.Activity != StageActivity.Ended))
        {
            if (text.Length > 0)
                text.Append("; ");
            StageReport report = node.Report();
            text.Append('\'').Append(node.Name).Append("' ").Append(node.Activity switch
            {
                StageActivity.WaitingForOutput when report is { WaitsFor: null, Kind: "broadcast" } => "waits for a branch",
                StageActivity.WaitingForOutput => $"waits for a slot of '{report.WaitsFor}'",
                StageActivity.WaitingForInput => "waits for items",
                StageActivity.WaitingForRetry => "waits for its next attempt",
                StageActivity.WaitingForForeignCode => "waits for foreign code",
                StageActivity.Starting => "is starting",
                StageActivity.Ending => "is in OnEndAsync",
                _ => $"has {report.InFlight} items in work since {report.OldestItemAge.TotalSeconds:0.#} s",
            });
            if (report.SlotsHeld > 0)
                text.Append(System.Globalization.CultureInfo.InvariantCulture, $" ({report.SlotsHeld} of {report.Capacity} slots held)");
        }

        return text.ToString();
    }
}
