namespace Puma.Dataflow.Stages;

/// <summary>What a described pipeline must satisfy before it can run.</summary>
internal static class PlanRules
{
    public static IReadOnlyList<string> FindProblems(IReadOnlyList<StageDefinition> stages, Dictionary<StageDefinition, string> names, PipelineOptions options)
    {
        var problems = new List<string>();
        foreach (IGrouping<string, StageDefinition> same in stages.Where(static s => s.Options.Name is not null).GroupBy(static s => s.Options.Name!).Where(static g => g.Count() > 1))
            problems.Add($"{same.Count()} stages have the Name '{same.Key}'. Give each stage a name of its own, and each part that is used twice a name in Through.");
        foreach (IGrouping<object?, StageDefinition> same in stages.Where(static s => s.SingleUse is Runnable || (s.SingleUse is not null && !s.IsSource)).GroupBy(static s => s.SingleUse, ReferenceEqualityComparer.Instance).Where(static g => g.Count() > 1))
            problems.Add($"Stages {string.Join(" and ", same.Select(s => $"'{names[s]}'"))} hold the same instance ({same.Key!.GetType().Name}). Give each stage an instance of its own, or a factory; use Merge to lead several streams into one.");
        foreach (StageDefinition stage in stages)
        {
            string name = names[stage];
            CheckOptions(stage, name, options, problems);
            CheckConnections(stage, name, problems);
            foreach (string problem in stage.Problems)
                problems.Add($"Stage '{name}': {problem}");
        }

        foreach (Edge edge in stages.SelectMany(static s => s.Inputs))
            CheckEdge(edge, names, problems);
        CheckPipeline(options, problems);
        IsolationRules.Check(stages, names, options, problems);
        return problems;
    }

    /// <summary>Shapes that may get stuck, though they need not.</summary>
    public static IReadOnlyList<string> FindWarnings(IReadOnlyList<StageDefinition> stages, Dictionary<StageDefinition, string> names)
    {
        var warnings = new List<string>();
        foreach (StageDefinition join in stages.Where(static s => s.Kind == "join"))
        {
            HashSet<StageDefinition> first = GraphOrder.UpstreamOf(join.Inputs[0].From), second = GraphOrder.UpstreamOf(join.Inputs[1].From);
            if (!first.Overlaps(second))
                continue;
            var uneven = first.Union(second).Except(first.Intersect(second)).Where(static s => !s.IsOneToOne).Select(s => $"'{names[s]}'").ToList();
            if (uneven.Count > 0)
                warnings.Add($"The branches that meet in '{names[join]}' come from the same stage, and {string.Join(", ", uneven)} may pass on more or fewer items than it gets. When one branch waits for a partner that the other does not make, the run can get stuck once the links are full. Make the branches one-to-one, or raise BoundedCapacity above the largest difference.");
        }

        return warnings;
    }

    private static void CheckOptions(StageDefinition stage, string name, PipelineOptions pipeline, List<string> problems)
    {
        StageOptions o = stage.Options;
        if (o.Name is { } given && string.IsNullOrWhiteSpace(given))
            problems.Add($"Stage '{stage.Kind}': Name is empty. Give it a name, or null for '{stage.Kind}'.");
        if (o.BoundedCapacity < 1)
            problems.Add($"Stage '{name}': BoundedCapacity is {o.BoundedCapacity}; it must be at least 1. Every link is bounded.");
        if (o.MaxDegreeOfParallelism < 1)
            problems.Add($"Stage '{name}': MaxDegreeOfParallelism is {o.MaxDegreeOfParallelism}; it must be at least 1.");
        else if (o.MaxDegreeOfParallelism > 1 && !stage.AllowsParallelism)
            problems.Add($"Stage '{name}': MaxDegreeOfParallelism is {o.MaxDegreeOfParallelism}, but {(stage.SingleUse is null ? $"a {stage.Kind} stage has one instance" : "the stage was given an instance, not a factory")}. Use 1{(stage.SingleUse is null ? "" : ", or pass a factory")}.");
        else if (o.MaxDegreeOfParallelism > o.BoundedCapacity && o.BoundedCapacity >= 1)
            problems.Add($"Stage '{name}': MaxDegreeOfParallelism ({o.MaxDegreeOfParallelism}) is above BoundedCapacity ({o.BoundedCapacity}), so some instances could never work. Raise BoundedCapacity.");
        if (!Enum.IsDefined(o.FullMode))
            problems.Add($"Stage '{name}': FullMode is {o.FullMode}; it must be one of {string.Join(", ", Enum.GetNames<FullMode>())}.");
        CheckPositive(o.ItemTimeout, nameof(o.ItemTimeout), name, problems, ", or null for no limit");
        CheckPositive(o.SendTimeout, nameof(o.SendTimeout), name, problems, ", or null for no limit");
        if (stage.HasTicks)
            CheckPositive(o.TickInterval, nameof(o.TickInterval), name, problems, ", or null for no ticks");
        else if (o.TickInterval is not null || o.TicksPaused)
            problems.Add($"Stage '{name}': {(o.TickInterval is null ? nameof(o.TicksPaused) : nameof(o.TickInterval))} has no effect on a {stage.Kind} stage, because only a runnable ticks. Remove it{(o.TickInterval is not null && o.TicksPaused ? $", and {nameof(o.TicksPaused)}" : "")}.");
        if (o.ErrorPolicy is null)
            problems.Add($"Stage '{name}': ErrorPolicy is null. Use ErrorPolicy.Fault for the default.");
        else
            CheckPolicy(stage, name, o.ErrorPolicy, problems);
        if (stage.ItemType is null && o.ItemTimeout is not null)
            problems.Add($"Stage '{name}': ItemTimeout has no effect on a {stage.Kind} stage, which runs no handler for each item. Remove it.");
        if (!stage.HasInstances && o.OwnThread)
            problems.Add($"Stage '{name}': OwnThread has no effect on a {stage.Kind} stage. Remove it.");
        if (!stage.IsEntry && (o.FullMode != FullMode.Wait || o.SendTimeout is not null || o.CompleteWithLastSender))
            problems.Add($"Stage '{name}': FullMode, SendTimeout and CompleteWithLastSender are for entries (Accept); a branch has WhenFull. Remove them here.");
        if (o.NoBranches is { } noBranches)
            CheckNoBranches(stage, name, noBranches, problems);
        if (!Enum.IsDefined(o.FanIn))
            problems.Add($"Stage '{name}': FanIn is {o.FanIn}; it must be one of {string.Join(", ", Enum.GetNames<FanIn>())}.");
        else if (o.FanIn != FanIn.All && stage.Inputs.Count < 2)
            problems.Add($"Stage '{name}': FanIn is {o.FanIn}, but the stage has {(stage.Inputs.Count == 1 ? "one input" : "no input")}. Remove it.");
    }

    private static void CheckNoBranches(StageDefinition stage, string name, NoBranches noBranches, List<string> problems)
    {
        if (!Enum.IsDefined(noBranches))
            problems.Add($"Stage '{name}': NoBranches is {noBranches}; it must be one of {string.Join(", ", Enum.GetNames<NoBranches>())}, or null.");
        else if (!stage.IsBroadcast)
            problems.Add($"Stage '{name}': NoBranches has no effect on a {stage.Kind} stage, to which no branches can be attached. Remove it.");
        else if (noBranches == NoBranches.End && stage.Outputs.Count == 0)
            problems.Add($"Stage '{name}': NoBranches is End, but the broadcast has no branch, so it would end at once. Give it a branch, or use NoBranches.Wait or NoBranches.Discard.");
    }

    private static void CheckPolicy(StageDefinition stage, string name, ErrorPolicy policy, List<string> problems)
    {
        bool isDefault = policy is { Verdict: ErrorVerdict.Fault, Retries: 0 };
        if (!isDefault && stage.ItemType is null)
            problems.Add($"Stage '{name}': ErrorPolicy has no effect on a {stage.Kind} stage, which runs no handler for each item. Remove it.");
        else if (policy.ItemType is { } type && stage.ItemType is { } itemType && type != itemType)
            problems.Add($"Stage '{name}': ErrorPolicy is for items of type {type.Name}, but the stage handles {itemType.Name}. Use DeadLetter<{itemType.Name}>.");
        if (policy.Retries > 0 && stage.IsAsyncStream)
            problems.Add($"Stage '{name}': ErrorPolicy is a retry, but the stage returns IAsyncEnumerable, whose values have left before a failure shows. Return IEnumerable, or retry inside the delegate.");
    }

    private static void CheckConnections(StageDefinition stage, string name, List<string> problems)
    {
        if (stage.Unfinished is { } unfinished)
            problems.Add($"Stage '{name}': {unfinished}");
        for (int i = 0; i < stage.Outputs.Count; i++)
        {
            if (stage.Outputs[i] is null)
                problems.Add($"Stage '{name}': output {i + 1} of {stage.Outputs.Count} leads nowhere. Continue it, or end it with ForEach or To.");
        }
    }

    private static void CheckEdge(Edge edge, Dictionary<StageDefinition, string> names, List<string> problems)
    {
        string name = names[edge.To];
        if (edge.Branch is { } settings && !Enum.IsDefined(settings.FullMode))
            problems.Add($"Stage '{name}': the branch that starts here has the full mode {settings.FullMode}; it must be one of {string.Join(", ", Enum.GetNames<FullMode>())}.");
        if (edge.Capacity < 1)
        {
            if (edge.Branch?.Capacity is { } capacity)
                problems.Add($"Stage '{name}': the branch that starts here has capacity {capacity}; it must be at least 1.");
        }
        else if (edge.Capacity < edge.To.LeastCapacity)
        {
            problems.Add($"Stage '{name}': its input holds {edge.Capacity} items, but {edge.To.LeastCapacity} have to fit for a batch. Raise BoundedCapacity to at least {edge.To.LeastCapacity}.");
        }
        else if (edge.Capacity < edge.To.Options.MaxDegreeOfParallelism && edge.To.Options.BoundedCapacity >= edge.To.Options.MaxDegreeOfParallelism)
        {
            problems.Add($"Stage '{name}': its input holds {edge.Capacity} items, fewer than its {edge.To.Options.MaxDegreeOfParallelism} instances. Raise the capacity of the entry or branch before it.");
        }

        if (edge.Branch?.IsOptional != true)
            return;
        if (GraphOrder.BranchOf(edge).Contains(edge.From))
            problems.Add($"Stage '{name}': the optional branch that starts here joins the rest of the pipeline again, so it could not be detached. Make it end by itself, or do not make it optional.");
    }

    private static void CheckPipeline(PipelineOptions o, List<string> problems)
    {
        if (string.IsNullOrWhiteSpace(o.Name))
            problems.Add("PipelineOptions: Name is empty.");
        if (o.TimeProvider is null)
            problems.Add("PipelineOptions: TimeProvider is null. Use TimeProvider.System for the default.");
        if (o.DefaultPlacement is null)
            problems.Add("PipelineOptions: DefaultPlacement is null. Use Placement.InProcess for the default.");
        if (!Enum.IsDefined(o.FaultMode))
            problems.Add($"PipelineOptions: FaultMode is {o.FaultMode}; it must be one of {string.Join(", ", Enum.GetNames<FaultMode>())}.");
        if (!Enum.IsDefined(o.Links))
            problems.Add($"PipelineOptions: Links is {o.Links}; it must be one of {string.Join(", ", Enum.GetNames<LinkKind>())}.");
        if (o.AbortTimeout < TimeSpan.Zero || o.AbortTimeout > TimeLimits.Longest)
            problems.Add($"PipelineOptions: AbortTimeout is {o.AbortTimeout}; it must not be negative, and at most {TimeLimits.Longest}.");
        if (o.DrainTimeout <= TimeSpan.Zero || o.DrainTimeout > TimeLimits.Longest)
            problems.Add($"PipelineOptions: DrainTimeout is {o.DrainTimeout}; it must be positive and at most {TimeLimits.Longest}.");
        if (o.CallTimeout is { } callTimeout && (callTimeout <= TimeSpan.Zero || callTimeout > TimeLimits.Longest))
            problems.Add($"PipelineOptions: CallTimeout is {callTimeout}; it must be positive and at most {TimeLimits.Longest}, or null for no limit.");
        if ((o.SlowCallWarning <= TimeSpan.Zero && o.SlowCallWarning != Timeout.InfiniteTimeSpan) || o.SlowCallWarning > TimeLimits.Longest)
            problems.Add($"PipelineOptions: SlowCallWarning is {o.SlowCallWarning}; it must be positive and at most {TimeLimits.Longest}, or Timeout.InfiniteTimeSpan for never.");
        if (o.ChattyCallWarning < 1)
            problems.Add($"PipelineOptions: ChattyCallWarning is {o.ChattyCallWarning}; it must be at least 1 call per second, or null for never.");
        if ((o.StallTimeout <= TimeSpan.Zero && o.StallTimeout != Timeout.InfiniteTimeSpan) || o.StallTimeout > TimeLimits.Longest)
            problems.Add($"PipelineOptions: StallTimeout is {o.StallTimeout}; it must be positive and at most {TimeLimits.Longest}, or Timeout.InfiniteTimeSpan for never.");
    }

    /// <param name="value">What must be positive; null is right.</param>
    /// <param name="option">The name of the option.</param>
    /// <param name="name">The name of the stage.</param>
    /// <param name="problems">Gets the problem.</param>
    /// <param name="otherwise">What the option may be besides, for example <c>, or null for no limit</c>.</param>
    internal static void CheckPositive(TimeSpan? value, string option, string name, List<string> problems, string otherwise = "")
    {
        if (value <= TimeSpan.Zero || value > TimeLimits.Longest)
            problems.Add($"Stage '{name}': {option} is {value}; it must be positive and at most {TimeLimits.Longest}{otherwise}.");
    }
}
