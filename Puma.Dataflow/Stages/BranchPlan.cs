using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>A described branch that is to join a broadcast of a run. It is checked as <c>Build()</c> checks a pipeline.</summary>
internal sealed class BranchPlan
{
    private readonly StageDefinition _place;
    private readonly BranchableStage _broadcast;
    private readonly List<StageDefinition> _stages;

    // The caller's: the names of the stages, and those that were in use when they were chosen.
    private (Dictionary<StageDefinition, string> Chosen, HashSet<string> InUse) _names;

    /// <summary>Takes the branch that was written behind a stand-in of the broadcast.</summary>
    /// <exception cref="PipelineBuildException">Something is wrong; all problems are listed.</exception>
    /// <exception cref="InvalidOperationException">The branch holds an object that serves one run only and was used before.</exception>
    public BranchPlan(StageDefinition place, BranchableStage broadcast)
    {
        _place = place;
        _broadcast = broadcast;
        _stages = [.. GraphOrder.Of(place).Where(s => s != place)];
        _names = ChooseNames();
        if (SingleUses.FindTaken(_stages, _names.Chosen) is { } taken)
            throw new InvalidOperationException($"This branch cannot be attached again, because {taken}.");
    }

    private Edge Edge => _place.Outputs[0]!;

    private CompletionGraph Graph => _broadcast.Graph;

    /// <summary>A description that stands for the broadcast when a branch is written.</summary>
    public static StageDefinition PlaceOf(StageNode broadcast) =>
        new(broadcast.Kind, broadcast.Options, _ => throw new InvalidOperationException("The broadcast runs already.")) { IsOneToOne = true, IsBroadcast = true };

    /// <summary>Makes the stages of the branch and takes them into the run, where they start. The broadcast does not know of them yet.</summary>
    /// <exception cref="BroadcastClosedException">The run takes no more branches.</exception>
    public (Link Entry, BranchScope Scope, StartGroup Group) Admit()
    {
        while (true)
        {
            // Without a name of its own the branch has that of its first stage.
            var scope = BranchScope.Joining(Edge.Branch?.Name ?? _names.Chosen[Edge.To], _broadcast.Scope, Edge.Branch?.IsOptional ?? false);
            StageAssembly made = StageAssembly.Make(Graph, _stages, _names.Chosen, new BranchJoint(_place, _broadcast, scope, _names.InUse));
            if (Graph.TryAdmit(made.Nodes, made.Links, _broadcast))
                return (made.Entry!, scope, made.Nodes[0].StartsWith!);

            // Another branch has taken a name since they were chosen.
            _names = ChooseNames();
        }
    }

    private (Dictionary<StageDefinition, string> Chosen, HashSet<string> InUse) ChooseNames()
    {
        HashSet<string> taken = [.. Graph.Nodes.Where(GraphShape.HoldsName).Select(static n => n.Name)];
        Dictionary<StageDefinition, string> names = StageNaming.Name(_stages, taken);
        List<string> problems = [.. PlanRules.FindProblems(_stages, names, Graph.Options)];
        foreach (StageDefinition stage in _stages)
        {
            if (stage.Options.Name is { } name && taken.Contains(name))
                problems.Add($"Stage '{name}': the run has a stage of this Name already. Choose another; the names of a branch are free again when it was detached and has ended.");
            if (stage.Options.ErrorPolicy?.DeadLetterTarget is { IsSingleUse: true } target
                && Graph.Nodes.FirstOrDefault(n => GraphShape.HoldsName(n) && n.Options.ErrorPolicy.DeadLetterTarget?.Key == target.Key) is { } feeder)
                problems.Add($"Stage '{names[stage]}': its dead-letter target ({target.Key.GetType().Name}) is fed by stage '{feeder.Name}' already, and would be completed with the branch. Use another target, or a delegate.");
        }

        return problems.Count == 0 ? (names, taken) : throw new PipelineBuildException(problems);
    }
}
