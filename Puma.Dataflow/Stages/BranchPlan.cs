using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>A described branch that is to join a broadcast of a run. It is checked as <c>Build()</c> checks a pipeline.</summary>
internal sealed class BranchPlan
{
    private readonly StageDefinition _place;
    private readonly BranchableStage _broadcast;
    private readonly List<StageDefinition> _stages;

    /// <summary>Takes the branch that was written behind a stand-in of the broadcast.</summary>
    /// <exception cref="PipelineBuildException">Something is wrong; all problems are listed.</exception>
    /// <exception cref="InvalidOperationException">The branch holds an object that serves one run only and was used before.</exception>
    public BranchPlan(StageDefinition place, BranchableStage broadcast)
    {
        _place = place;
        _broadcast = broadcast;
        _stages = [.. GraphOrder.Of(place).Where(s => s != place)];
        Dictionary<StageDefinition, string> names = Check(NamesInUse());
        if (SingleUses.FindTaken(_stages, names) is { } taken)
            throw new InvalidOperationException($"This branch cannot be attached again, because {taken}.");
        Name = Edge.Branch?.Name ?? names[Edge.To];
    }

    /// <summary>The name of the branch: its own, else that of its first stage.</summary>
    public string Name { get; }

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
            HashSet<string> taken = NamesInUse();
            Dictionary<StageDefinition, string> names = Check(taken);
            var scope = BranchScope.Joining(Name, _broadcast.Scope, Edge.Branch?.IsOptional ?? false);
            StageAssembly made = StageAssembly.Make(Graph, _stages, names, new BranchJoint(_place, _broadcast, scope, taken));

            // Another branch may have taken a name since they were chosen; then they are chosen anew.
            if (Graph.TryAdmit(made.Nodes, made.Links, _broadcast))
                return (made.Entry!, scope, made.Nodes[0].StartsWith!);
        }
    }

    private HashSet<string> NamesInUse() => [.. Graph.Nodes.Where(GraphShape.HoldsName).Select(static n => n.Name)];

    private Dictionary<StageDefinition, string> Check(HashSet<string> taken)
    {
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

        return problems.Count == 0 ? names : throw new PipelineBuildException(problems);
    }
}
