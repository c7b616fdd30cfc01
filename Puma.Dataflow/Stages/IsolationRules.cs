using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Launch;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;

namespace Puma.Dataflow.Stages;

/// <summary>What a stage must satisfy that runs elsewhere than in this process.</summary>
internal static class IsolationRules
{
    private const long LeastMemory = 16 * 1024 * 1024;
    private const int LeastItemSize = 1024;
    private const int MostSpares = 64;

    public static void Check(IReadOnlyList<StageDefinition> stages, Dictionary<StageDefinition, string> names, PipelineOptions pipeline, List<string> problems)
    {
        if (pipeline.DefaultPlacement is null)
            return;
        List<StageDefinition> isolated = [.. stages.Where(s => s.PlacementIn(pipeline) is not InProcessPlacement)];
        if (isolated.Count == 0 || MakeCodecs(pipeline, problems) is not { } codecs)
            return;
        foreach (StageDefinition stage in isolated)
            Check(stage, names[stage], stage.PlacementIn(pipeline), codecs, problems);
    }

    private static ItemCodecs? MakeCodecs(PipelineOptions pipeline, List<string> problems)
    {
        int before = problems.Count;
        if (pipeline.ItemCodec is { } make && DelegateIdentity.FindProblem(make) is { } problem)
            problems.Add($"PipelineOptions: ItemCodec cannot be called in a child process, because {problem}");
        foreach (Type type in pipeline.DerivedTypes.Where(static t => t is null || t.IsAbstract || t.IsInterface || t.ContainsGenericParameters))
            problems.Add($"PipelineOptions: DerivedTypes names {type?.Name ?? "null"}, which no value can have. Name concrete types.");
        if (problems.Count > before)
            return null;
        try
        {
            return new ItemCodecs(pipeline.ItemCodec?.Invoke(), pipeline.DerivedTypes);
        }
        catch (Exception error)
        {
            problems.Add($"PipelineOptions: ItemCodec or DerivedTypes cannot be used: {ExceptionText.MessageOf(error)}");
            return null;
        }
    }

    private static void Check(StageDefinition stage, string name, Placement placement, ItemCodecs codecs, List<string> problems)
    {
        bool isOwn = stage.Options.Placement is not null;
        string where = $"{(isOwn ? "Placement" : "DefaultPlacement")} is {placement.GetType().Name.Replace("Placement", "", StringComparison.Ordinal)}";
        string remedy = isOwn ? "" : " Or keep this stage here with Placement = Placement.InProcess.";
        if (stage.Recipe is not { } recipe)
        {
            problems.Add($"Stage '{name}': {where}, but a {stage.Kind} stage always runs in this process. Remove it.");
            return;
        }

        if (recipe.FindProblem() is { } problem)
            problems.Add($"Stage '{name}': {where}, but {problem}{remedy}");
        foreach (Type type in stage.CarriedItems.Union(stage.CarriedResults))
        {
            if (codecs.FindProblem(type) is not { } reason)
                continue;
            string what = !stage.CarriedResults.Contains(type) ? "items" : stage.CarriedItems.Contains(type) ? "items and results" : "results";
            problems.Add($"Stage '{name}': {where}, but its {what} of type {type.Name} cannot be carried: {reason}");
        }

        if (recipe.OptionsType is { } options)
        {
            if (codecs.FindProblem(options) is { } reason)
                problems.Add($"Stage '{name}': {where}, but its runnable options of type {options.Name} cannot be carried: {reason}");
            else
                TryOptions(name, where, options, recipe.Options, codecs, problems);
        }

        if (placement is ChildProcessPlacement child)
            Check(stage, name, child, recipe, problems);
    }

    /// <summary>The options are known now, so their value is tried, not only their type.</summary>
    private static void TryOptions(string name, string where, Type type, object? value, ItemCodecs codecs, List<string> problems)
    {
        try
        {
            codecs.WriteUntyped(type, new PayloadWriter(), value);
        }
        catch (ItemCodecException error)
        {
            problems.Add($"Stage '{name}': {where}, but its runnable options cannot be carried. {error.Message}");
        }
    }

    private static void Check(StageDefinition stage, string name, ChildProcessPlacement child, Recipe recipe, List<string> problems)
    {
        PlanRules.CheckPositive(child.StartTimeout, nameof(child.StartTimeout), name, problems);
        if (child.HangTimeout != Timeout.InfiniteTimeSpan)
            PlanRules.CheckPositive(child.HangTimeout, nameof(child.HangTimeout), name, problems, ", or Timeout.InfiniteTimeSpan for never");
        if (child.StopGrace < TimeSpan.Zero || child.StopGrace > TimeLimits.Longest)
            problems.Add($"Stage '{name}': StopGrace is {child.StopGrace}; it must not be negative, and at most {TimeLimits.Longest}.");
        if (child.MemoryLimit < LeastMemory)
            problems.Add($"Stage '{name}': MemoryLimit is {child.MemoryLimit} bytes; a child needs at least {LeastMemory}.");
        if (child.MaxItemSize is < LeastItemSize or > FrameFormat.MaxData)
            problems.Add($"Stage '{name}': MaxItemSize is {child.MaxItemSize} bytes; it must be from {LeastItemSize} to {FrameFormat.MaxData}.");
        if (child.Environment is null || child.Environment.Keys.Any(static k => string.IsNullOrEmpty(k) || k.Contains('=') || k.Contains('\0')))
            problems.Add($"Stage '{name}': Environment is null or has a name that is empty or contains '='.");
        if (child.WorkingDirectory is { } directory && !Directory.Exists(directory))
            problems.Add($"Stage '{name}': WorkingDirectory is '{directory}', which does not exist.");
        if (child.OnLoss is null)
            problems.Add($"Stage '{name}': OnLoss is null. Use LossPolicy.Fault for the default.");
        if (child.SpareChildren is < 0 or > MostSpares)
            problems.Add($"Stage '{name}': SpareChildren is {child.SpareChildren}; it must be from 0 to {MostSpares}.");
        else if (child.SpareChildren > 0 && child.OnLoss is not (null or RestartPolicy))
            problems.Add($"Stage '{name}': SpareChildren is {child.SpareChildren}, but OnLoss never restarts a child, so nobody would take them. Use LossPolicy.Restart(...), or leave SpareChildren at 0.");
        if (child.OnLoss is RestartPolicy restart)
        {
            if (recipe.HasState && child.StateLoss != StateLoss.Accepted)
                problems.Add($"Stage '{name}': OnLoss is a restart, but a runnable would lose what it remembers. Set StateLoss = StateLoss.Accepted if that does no harm, or use LossPolicy.Fault.");
            if (restart.GuiltLimit == 1 && stage.Options.ErrorPolicy?.DeadLetterTarget is null)
                problems.Add($"Stage '{name}': OnLoss sends the item in work to the dead letters, but the stage's ErrorPolicy has no target for them. Use ErrorPolicy.DeadLetter(...), or Replay.");
        }

        if (LaunchCommand.FindProblem() is { } launch)
            problems.Add($"Stage '{name}': Placement is ChildProcess, but {launch}");
    }
}
