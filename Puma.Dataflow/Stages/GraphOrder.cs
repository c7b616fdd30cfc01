namespace Puma.Dataflow.Stages;

/// <summary>Walks a described graph.</summary>
internal static class GraphOrder
{
    /// <summary>All stages connected with one, each after the stages that feed it, else in the order in which they were written.</summary>
    public static List<StageDefinition> Of(StageDefinition any)
    {
        var found = new HashSet<StageDefinition> { any };
        var next = new Queue<StageDefinition>(found);
        var all = new List<StageDefinition>();
        while (next.TryDequeue(out StageDefinition? stage))
        {
            all.Add(stage);
            foreach (StageDefinition neighbour in stage.Inputs.Select(static e => e.From).Concat(stage.Outputs.OfType<Edge>().Select(static e => e.To)))
            {
                if (found.Add(neighbour))
                    next.Enqueue(neighbour);
            }
        }

        var ordered = new List<StageDefinition>(all.Count);
        var missing = all.ToDictionary(static s => s, static s => s.Inputs.Count);
        var ready = new Stack<StageDefinition>(all.Where(static s => s.Inputs.Count == 0));
        while (ready.TryPop(out StageDefinition? stage))
        {
            ordered.Add(stage);

            // The first branch comes next, so that a chain stays together.
            foreach (Edge edge in stage.Outputs.OfType<Edge>().Reverse())
            {
                if (--missing[edge.To] == 0)
                    ready.Push(edge.To);
            }
        }

        if (ordered.Count < all.Count)
            throw new PipelineBuildException(["The stages form a cycle; a pipeline must be acyclic. Send items back through an entry of a second run instead."]);
        return ordered;
    }

    /// <summary>The stages of a branch: all that hang together with its first one without its edge. When the stage before the edge is among them, the branch joins the rest again.</summary>
    public static IReadOnlyCollection<StageDefinition> BranchOf(Edge edge)
    {
        var branch = new HashSet<StageDefinition> { edge.To };
        var next = new Queue<StageDefinition>(branch);
        while (next.TryDequeue(out StageDefinition? stage))
        {
            foreach (Edge other in stage.Inputs.Concat(stage.Outputs.OfType<Edge>()))
            {
                if (other == edge)
                    continue;
                StageDefinition neighbour = other.From == stage ? other.To : other.From;
                if (branch.Add(neighbour))
                    next.Enqueue(neighbour);
            }
        }

        return branch;
    }

    /// <summary>All stages from which one can be reached, itself included.</summary>
    public static HashSet<StageDefinition> UpstreamOf(StageDefinition stage)
    {
        var seen = new HashSet<StageDefinition> { stage };
        var next = new Queue<StageDefinition>(seen);
        while (next.TryDequeue(out StageDefinition? current))
        {
            foreach (Edge input in current.Inputs)
            {
                if (seen.Add(input.From))
                    next.Enqueue(input.From);
            }
        }

        return seen;
    }
}
