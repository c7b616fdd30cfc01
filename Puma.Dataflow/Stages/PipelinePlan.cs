using Microsoft.Extensions.Logging;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation.Launch;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Logging;

namespace Puma.Dataflow.Stages;

/// <summary>A checked graph of stages with their names, from which any number of runs can be made. Immutable.</summary>
internal sealed class PipelinePlan
{
    private readonly IReadOnlyList<StageDefinition> _stages;
    private readonly Dictionary<StageDefinition, string> _names;
    private readonly PipelineOptions _options;

    private PipelinePlan(IReadOnlyList<StageDefinition> stages, Dictionary<StageDefinition, string> names, PipelineOptions options, IReadOnlyList<string> warnings)
    {
        _stages = stages;
        _names = names;
        _options = options;
        Warnings = warnings;
    }

    public IReadOnlyList<string> Warnings { get; }

    public IEnumerable<string> StageNames => _stages.Select(s => _names[s]);

    /// <summary>Checks the graph that a stage belongs to.</summary>
    /// <exception cref="PipelineBuildException">Something is wrong; all problems are listed.</exception>
    public static PipelinePlan Make(StageDefinition anyStage, PipelineOptions? options)
    {
        ChildMain.EndIfNotTakenOver();
        options ??= PipelineOptions.Default;
        List<StageDefinition> stages = GraphOrder.Of(anyStage);
        Dictionary<StageDefinition, string> names = StageNaming.Name(stages);
        IReadOnlyList<string> problems = PlanRules.FindProblems(stages, names, options);
        if (problems.Count > 0)
            throw new PipelineBuildException(problems);
        return new PipelinePlan(stages, names, options, PlanRules.FindWarnings(stages, names));
    }

    /// <summary>Starts a run.</summary>
    /// <exception cref="InvalidOperationException">The pipeline holds an object that serves one run only and has run before.</exception>
    public StartedRun Start(CancellationToken cancellationToken)
    {
        TakeSingleUses();
        if (_options.LoggerFactory is null)
            DefaultLogging.EnsureConfigured();
        ILoggerFactory loggers = _options.LoggerFactory ?? DefaultLogging.Factory;
        var graph = new CompletionGraph(_options, loggers);
        foreach (string warning in Warnings)
            Log.BuildWarning(graph.Logger, _options.Name, warning);

        var nodes = new Dictionary<StageDefinition, StageNode>(_stages.Count);
        foreach (StageDefinition stage in _stages)
        {
            var setup = new StageSetup(_names[stage], stage.Kind, stage.Options with { Placement = stage.PlacementIn(_options) }, graph);
            StageNode node = stage.Create(setup);
            node.Links.Inputs = new Link[stage.Inputs.Count];
            node.Links.Outputs = new Link[stage.Outputs.Count];
            nodes.Add(stage, node);
        }

        var links = new List<Link>();
        foreach (Edge edge in _stages.SelectMany(static s => s.Inputs))
        {
            StageNode writer = nodes[edge.From], reader = nodes[edge.To];
            Link link = edge.CreateLink(writer, reader);
            writer.Outputs[edge.FromPort] = link;
            reader.Inputs[edge.ToPort] = link;
            links.Add(link);
        }

        List<StageNode> ordered = [.. _stages.Select(s => nodes[s])];
        AddDeadLetterStages(graph, ordered, links);
        foreach (Edge edge in _stages.SelectMany(static s => s.Inputs).Where(static e => e.Branch?.IsOptional == true))
        {
            var scope = new OptionalScope(edge.Branch!.Name ?? _names[edge.To]);
            foreach (StageDefinition stage in GraphOrder.BranchOf(edge))
            {
                // Edges come in the order of the graph, so an inner branch overwrites the one around it.
                nodes[stage].Scope = scope;
                scope.Nodes.Add(nodes[stage]);
            }
        }

        foreach (StageNode node in ordered)
            node.Prepare();
        graph.Start(ordered, links, cancellationToken);
        return new StartedRun(graph, ordered);
    }

    private void TakeSingleUses()
    {
        // A part that is used twice shares its mark; one run may take it for both.
        var taken = new HashSet<UseMark>();
        foreach (StageDefinition stage in _stages)
        {
            if (stage.Instance is not { } instance || !taken.Add(stage.UseMark) || stage.UseMark.TryTake())
                continue;
            throw new InvalidOperationException(stage.SingleUse is not null
                ? $"This pipeline can run once only, because stage '{_names[stage]}' holds an instance ({instance.GetType().Name}). Give the stage a factory to run it many times."
                : $"This pipeline can run once only, because stage '{_names[stage]}' has a dead-letter target ({instance.GetType().Name}) that the first run completes. Give ErrorPolicy.DeadLetter a delegate to run it many times.");
        }
    }

    /// <summary>One more stage for each dead-letter target; all stages that name the target feed it.</summary>
    private static void AddDeadLetterStages(CompletionGraph graph, List<StageNode> nodes, List<Link> links)
    {
        var feeders = nodes
            .Where(static n => n.Options.ErrorPolicy.DeadLetterTarget is not null)
            .GroupBy(static n => n.Options.ErrorPolicy.DeadLetterTarget!.Key, ReferenceEqualityComparer.Instance)
            .ToList();
        foreach (IGrouping<object?, StageNode> group in feeders)
        {
            ForeignTarget<DeadLetter> target = group.First().Options.ErrorPolicy.DeadLetterTarget!;
            string name = StageNaming.Unique("dead-letters", nodes.Select(static n => n.Name).ToHashSet());
            var sink = new ForeignEndStage<DeadLetter>(new StageSetup(name, "dead-letters", StageOptions.Default, graph), () => target);
            List<Link> inputs = [];
            foreach (StageNode feeder in group)
            {
                var link = new BufferBlockLink<DeadLetter>(feeder.Name, name, StageOptions.DefaultCapacity, feeder, sink) { OnDiscarded = sink.NoteDiscarded };
                feeder.Links.DeadLetters = link;
                inputs.Add(link);
            }

            sink.Links.Inputs = [.. inputs];
            links.AddRange(inputs);
            nodes.Add(sink);
        }
    }
}

/// <summary>A run and its stages.</summary>
internal sealed record StartedRun(CompletionGraph Graph, IReadOnlyList<StageNode> Nodes);
