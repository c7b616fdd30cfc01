using Microsoft.Extensions.Logging;
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

    /// <summary>What a picture of the pipeline shows.</summary>
    public GraphDrawing Draw() => PlanDrawing.Of(_stages, _names, _options);

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

        StageAssembly assembly = StageAssembly.Make(graph, _stages, _names);
        graph.Start(assembly.Nodes, assembly.Links, cancellationToken);
        return new StartedRun(graph, assembly.Nodes);
    }

    private void TakeSingleUses()
    {
        if (SingleUses.FindTaken(_stages, _names) is { } taken)
            throw new InvalidOperationException($"This pipeline can run once only, because {taken} to run it many times.");
    }
}

/// <summary>A run and its stages.</summary>
internal sealed record StartedRun(CompletionGraph Graph, IReadOnlyList<StageNode> Nodes);
