namespace Puma.Dataflow.Stages;

/// <summary>Gives every stage a name: its own, or its kind with a number where that is needed.</summary>
internal static class StageNaming
{
    public static Dictionary<StageDefinition, string> Name(IReadOnlyList<StageDefinition> stages, IEnumerable<string>? takenByOthers = null)
    {
        HashSet<string> taken = [.. stages.Select(static s => s.Options.Name).OfType<string>(), .. takenByOthers ?? []];
        var names = new Dictionary<StageDefinition, string>(stages.Count);
        foreach (StageDefinition stage in stages)
        {
            string name = stage.Options.Name ?? Unique(stage.Kind, taken);
            taken.Add(name);
            names.Add(stage, name);
        }

        return names;
    }

    public static string Unique(string name, IReadOnlySet<string> taken)
    {
        string unique = name;
        for (int i = 2; taken.Contains(unique); i++)
            unique = $"{name}-{i}";
        return unique;
    }
}
