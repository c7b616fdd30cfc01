namespace Puma.Dataflow.Stages;

/// <summary>What the settings of workers must satisfy, as far as those of the stage that they become do not say it.</summary>
internal static class WorkersRules
{
    /// <summary>Workers outlive their jobs: a job that kills its worker now and then ends nothing but itself, a worker that cannot live ends all soon.</summary>
    private static readonly LossPolicy ReplaceWorker =
        LossPolicy.Restart(max: 10, window: TimeSpan.FromMinutes(1), Backoff.Exponential(TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(1))).DeadLetter();

    public static IReadOnlyList<string> FindProblems(WorkersOptions o)
    {
        var problems = new List<string>();
        if (string.IsNullOrWhiteSpace(o.Name))
            problems.Add("WorkersOptions: Name is empty. Give the workers a name.");
        if (o.Count < 1)
            problems.Add($"WorkersOptions: Count is {o.Count}; it must be at least 1.");
        else if (o.BoundedCapacity < o.Count)
            problems.Add($"WorkersOptions: BoundedCapacity is {o.BoundedCapacity}; it must be at least Count ({o.Count}), or some workers could never work.");
        if (o.JobTimeout <= TimeSpan.Zero || o.JobTimeout > TimeLimits.Longest)
            problems.Add($"WorkersOptions: JobTimeout is {o.JobTimeout}; it must be positive and at most {TimeLimits.Longest}, or null for no limit.");
        if (o.DerivedTypes is null)
            problems.Add("WorkersOptions: DerivedTypes is null. Leave it empty for none.");
        if (o.Placement is null)
            problems.Add("WorkersOptions: Placement is null. Use Placement.InProcess for the default.");
        else if (o.OnLoss is not null && o.Placement is ChildProcessPlacement { IsOnLossSet: true })
            problems.Add("WorkersOptions: OnLoss is set, and that of Placement is as well. Set one of them.");
        return problems;
    }

    /// <summary>Where the workers live, with what happens when one is lost.</summary>
    public static Placement PlacementOf(WorkersOptions o) => o.Placement is ChildProcessPlacement { IsOnLossSet: false } child
        ? child with { OnLoss = o.OnLoss ?? ReplaceWorker }
        : o.Placement;
}
