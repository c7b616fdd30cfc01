namespace Puma.Dataflow.Stages;

/// <summary>What serves one run only.</summary>
internal static class SingleUses
{
    /// <summary>Takes all of it for a run.</summary>
    /// <returns>What was taken before, and what to do; null when nothing was.</returns>
    public static string? FindTaken(IReadOnlyList<StageDefinition> stages, Dictionary<StageDefinition, string> names)
    {
        // A part that is used twice shares its mark; one run may take it for both.
        var taken = new HashSet<UseMark>();
        foreach (StageDefinition stage in stages)
        {
            if (stage.Instance is not { } instance || !taken.Add(stage.UseMark) || stage.UseMark.TryTake())
                continue;
            return stage.SingleUse is not null
                ? $"stage '{names[stage]}' holds an instance ({instance.GetType().Name}). Give the stage a factory"
                : $"stage '{names[stage]}' has a dead-letter target ({instance.GetType().Name}) that the first run completes. Give ErrorPolicy.DeadLetter a delegate";
        }

        return null;
    }
}
