using Puma.Dataflow.Blocks;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>The stages and links of a run, or of a branch that is to join one, made from their description. Nothing of it runs yet.</summary>
internal sealed class StageAssembly
{
    private readonly Dictionary<StageDefinition, StageNode> _nodes = [];

    private StageAssembly() { }

    public List<StageNode> Nodes { get; } = [];

    public List<Link> Links { get; } = [];

    /// <summary>The link into the branch, which no stage writes yet; null for a run.</summary>
    public Link? Entry { get; private set; }

    /// <summary>Makes what is described.</summary>
    /// <param name="graph">The run that it is for.</param>
    /// <param name="stages">The stages, each after those that feed it.</param>
    /// <param name="names">Their names.</param>
    /// <param name="joint">Where it is to join a run that goes on already; null for a new run.</param>
    public static StageAssembly Make(CompletionGraph graph, IReadOnlyList<StageDefinition> stages, Dictionary<StageDefinition, string> names, BranchJoint? joint = null)
    {
        var made = new StageAssembly();
        foreach (StageDefinition stage in stages)
        {
            var setup = new StageSetup(names[stage], stage.Kind, stage.Options with { Placement = stage.PlacementIn(graph.Options) }, graph);
            StageNode node = stage.Create(setup);
            node.Links.Inputs = new Link[stage.Inputs.Count];
            node.Links.Outputs = new Link[stage.Outputs.Count];
            made._nodes.Add(stage, node);
            made.Nodes.Add(node);
        }

        foreach (Edge edge in stages.SelectMany(static s => s.Inputs))
            made.Connect(edge, joint);
        foreach (DeadLetterFeeders feeders in DeadLetterFeeders.Of(stages, [.. names.Values, .. joint?.TakenNames ?? Enumerable.Empty<string>()]))
            made.AddDeadLetterStage(graph, feeders);
        foreach (StageNode node in made.Nodes)
            node.Scope = joint?.Scope;
        foreach (Edge edge in stages.SelectMany(static s => s.Inputs).Where(e => e.Branch?.IsOptional == true && e.From != joint?.Place))
            made.Enclose(edge, names);
        foreach (StageNode node in made.Nodes)
            node.Prepare();
        if (joint is null)
            return made;
        var together = new StartGroup(made.Nodes.Count);
        foreach (StageNode node in made.Nodes)
            node.StartsWith = together;
        return made;
    }

    private void Connect(Edge edge, BranchJoint? joint)
    {
        bool isEntry = edge.From == joint?.Place;
        StageNode writer = isEntry ? joint!.Broadcast : _nodes[edge.From], reader = _nodes[edge.To];
        Link link = edge.CreateLink(writer, reader);
        reader.Inputs[edge.ToPort] = link;
        Links.Add(link);
        if (isEntry)
            Entry = link;
        else
            writer.Outputs[edge.FromPort] = link;
    }

    private void Enclose(Edge edge, Dictionary<StageDefinition, string> names)
    {
        // Edges come in the order of the graph, so an inner branch overwrites the one around it.
        var scope = BranchScope.Optional(edge.Branch!.Name ?? names[edge.To], _nodes[edge.From].Scope);
        foreach (StageDefinition stage in GraphOrder.BranchOf(edge))
            _nodes[stage].Scope = scope;
    }

    private void AddDeadLetterStage(CompletionGraph graph, DeadLetterFeeders feeders)
    {
        var sink = new ForeignEndStage<DeadLetter>(new StageSetup(feeders.Name, DeadLetter.StageKind, StageOptions.Default, graph), () => feeders.Target);
        List<Link> inputs = [];
        foreach (StageNode feeder in feeders.Stages.Select(s => _nodes[s]))
        {
            var link = new BufferBlockLink<DeadLetter>(feeder.Name, feeders.Name, StageOptions.DefaultCapacity, feeder, sink) { OnDiscarded = sink.NoteDiscarded };
            feeder.Links.DeadLetters = link;
            inputs.Add(link);
        }

        sink.Links.Inputs = [.. inputs];
        Links.AddRange(inputs);
        Nodes.Add(sink);
    }
}

/// <summary>Where a branch is to join a run that goes on already.</summary>
/// <param name="Place">What stands for the broadcast in the description of the branch.</param>
/// <param name="Broadcast">The stage itself.</param>
/// <param name="Scope">The branch as the place of its failures.</param>
/// <param name="TakenNames">The names of the run's stages.</param>
internal sealed record BranchJoint(StageDefinition Place, StageNode Broadcast, BranchScope Scope, IReadOnlySet<string> TakenNames);
