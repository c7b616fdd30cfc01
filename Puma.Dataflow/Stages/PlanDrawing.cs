using Puma.Dataflow.Diagnostics;

namespace Puma.Dataflow.Stages;

/// <summary>Draws a described pipeline: what there will be when a run starts, without numbers.</summary>
internal static class PlanDrawing
{
    private const string DeadLetters = "dead-letters";

    public static GraphDrawing Of(IReadOnlyList<StageDefinition> stages, Dictionary<StageDefinition, string> names, PipelineOptions options)
    {
        List<DrawnStage> drawn = [.. stages.Select(s => Draw(s, names[s], s.PlacementIn(options)))];
        List<DrawnLink> links = [.. stages.SelectMany(static s => s.Inputs).Select(e => new DrawnLink(names[e.From], names[e.To], Describe(e)))];

        // As at the start of a run: one stage for each target, fed by all that name it.
        foreach (IGrouping<object, StageDefinition> feeders in stages.Where(static s => s.Options.ErrorPolicy.DeadLetterTarget is not null).GroupBy(static s => s.Options.ErrorPolicy.DeadLetterTarget!.Key, ReferenceEqualityComparer.Instance).OfType<IGrouping<object, StageDefinition>>())
        {
            string name = StageNaming.Unique(DeadLetters, drawn.Select(static d => d.Name).ToHashSet());
            drawn.Add(new DrawnStage(name, [], IsElsewhere: false));
            links.AddRange(feeders.Select(f => new DrawnLink(names[f], name, Slots(StageOptions.DefaultCapacity), IsDashed: true)));
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
