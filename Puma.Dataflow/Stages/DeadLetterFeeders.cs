namespace Puma.Dataflow.Stages;

/// <summary>The stages that feed one dead-letter target, and the name of the stage between them and it.</summary>
internal sealed record DeadLetterFeeders(string Name, ForeignTarget<DeadLetter> Target, IReadOnlyList<StageDefinition> Stages)
{
    /// <summary>One for each target; all stages that name the target feed it.</summary>
    /// <param name="stages">The stages, as described.</param>
    /// <param name="taken">The names that others have.</param>
    public static IReadOnlyList<DeadLetterFeeders> Of(IEnumerable<StageDefinition> stages, IEnumerable<string> taken)
    {
        HashSet<string> names = [.. taken];
        List<DeadLetterFeeders> all = [];
        foreach (List<StageDefinition> feeders in stages
            .Where(static s => s.Options.ErrorPolicy.DeadLetterTarget is not null)
            .GroupBy(static s => s.Options.ErrorPolicy.DeadLetterTarget!.Key, ReferenceEqualityComparer.Instance)
            .Select(static g => g.ToList()))
        {
            string name = StageNaming.Unique(DeadLetter.StageKind, names);
            names.Add(name);
            all.Add(new DeadLetterFeeders(name, feeders[0].Options.ErrorPolicy.DeadLetterTarget!, feeders));
        }

        return all;
    }
}
