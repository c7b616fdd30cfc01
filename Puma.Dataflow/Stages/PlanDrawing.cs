using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Stages;

/// <summary>Draws a described pipeline: what there will be when a run starts, without numbers.</summary>
internal static class PlanDrawing
{
    public static GraphDrawing Of(IReadOnlyList<StageDefinition> stages, Dictionary<StageDefinition, string> names, PipelineOptions options)
    {
        List<DrawnStage> drawn = [.. stages.Select(s => Draw(s, names[s], s.PlacementIn(options)))];
        List<DrawnLink> links = [.. stages.SelectMany(static s => s.Inputs).Select(e => new DrawnLink(names[e.From], names[e.To], Describe(e)))];

        foreach (DeadLetterFeeders feeders in DeadLetterFeeders.Of(stages, names.Values))
        {
            drawn.Add(new DrawnStage(feeders.Name, [], IsElsewhere: false));
            links.AddRange(feeders.Stages.Select(f => new DrawnLink(names[f], feeders.Name, Slots(StageOptions.DefaultCapacity), IsDashed: true)));
        }

        return new GraphDrawing(drawn, links);
    }

    private static DrawnStage Draw(StageDefinition stage, string name, Placement placement)
    {
        string kind = stage.Kind == name ? "" : stage.Kind;
        string instances = stage.Options.MaxDegreeOfParallelism > 1 ? $"×{stage.Options.MaxDegreeOfParallelism}" : "";
        string where = placement switch
        {
            ChildProcessPlacement => stage.Options.MaxDegreeOfParallelism > 1 ? "child processes" : "child process",
            LoopbackPlacement => "loopback",
            _ => "",
        };
        string[] details = [$"{kind} {instances}".Trim(), where];
        return new DrawnStage(name, [.. details.Where(static d => d.Length > 0)], placement is not InProcessPlacement);
    }

    private static string Describe(Edge edge)
    {
        FullMode full = edge.FullMode;
        string name = edge.Branch?.Name is { } branch ? $"{branch}: " : "";
        return $"{name}{Slots(edge.Capacity)}{(edge.Branch?.IsOptional == true ? ", optional" : "")}{(full == FullMode.Wait ? "" : $", {full}")}";
    }

    private static string Slots(int capacity) => capacity == 1 ? "1 slot" : $"{capacity} slots";
}
