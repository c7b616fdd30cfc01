namespace Puma.Dataflow.Stages;

/// <summary>Gives every stage a name: its own, or its kind with a number where that is needed.</summary>
internal static class StageNaming
{
    public static Dictionary<StageDefinition, string> Name(IReadOnlyList<StageDefinition> stages, IEnumerable<string>? takenByOthers = null)
    {
        HashSet<string> taken = [.. stages.Select(static s => s.Options.Name).OfType<string>(), .. takenByOthers ?? []];
        var names = new Dictionary<StageDefinition, string>(stages.Count);
        Dictionary<string, int> last = [];
        foreach (StageDefinition stage in stages)
        {
            string name = stage.Options.Name ?? Unique(stage.Kind, taken, last);
            taken.Add(name);
            names.Add(stage, name);
        }

        return names;
    }

    public static string Unique(string name, IReadOnlySet<string> taken) => Unique(name, taken, []);

    /// <param name="name">What the stage would be called.</param>
    /// <param name="taken">What others are called.</param>
    /// <param name="last">The last number of each name, where the next one goes on: so many stages take so many steps.</param>
    private static string Unique(string name, IReadOnlySet<string> taken, Dictionary<string, int> last)
    {
        int number = last.GetValueOrDefault(name);
        string unique;
        do
            unique = ++number == 1 ? name : $"{name}-{number}";
        while (taken.Contains(unique));
        last[name] = number;
        return unique;
    }
}
