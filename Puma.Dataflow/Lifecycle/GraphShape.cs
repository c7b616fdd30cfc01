using System.Diagnostics;
using Puma.Dataflow.Buffers;

namespace Puma.Dataflow.Lifecycle;

/// <summary>The stages of a run at one moment and who writes to whom, and the numbers of stages whose names others have now. Immutable.</summary>
/// <param name="Nodes">The stages: those that the run started with, then those of branches that were attached.</param>
/// <param name="Links">The links that the stages read, dead-letter links included.</param>
/// <param name="Past">The numbers of stages that made room for others of the same name.</param>
internal sealed record GraphShape(IReadOnlyList<StageNode> Nodes, IReadOnlyList<Link> Links, PastStages Past)
{
    public static GraphShape Empty { get; } = new([], [], PastStages.None);

    /// <summary>Whether a stage has its name for good, or for now: those of an attached branch are free again when it has ended, but for what was left behind.</summary>
    public static bool HoldsName(StageNode node) => node.IsAbandoned || !BranchScope.IsInAny(node.Scope, static s => s.HasEnded);

    /// <summary>With more stages and links, whose names are free.</summary>
    public GraphShape With(IReadOnlyList<StageNode> nodes, IReadOnlyList<Link> links)
    {
        GraphShape more = this with { Nodes = [.. Nodes, .. nodes], Links = [.. Links, .. links] };
        more.AssertWhole();
        return more;
    }

    /// <summary>Without a branch that did not join.</summary>
    public GraphShape Without(BranchScope refused) => Without([.. StagesIn(refused)]);

    /// <summary>Lets go of the stages whose names others want; their numbers stay. Takes no lock: those stages have ended, so that their reports are final, and nothing is queued.</summary>
    /// <returns>Null when a stage still holds one of the names.</returns>
    public GraphShape? TryMakeRoom(IReadOnlyList<StageNode> newcomers)
    {
        HashSet<string> names = [.. newcomers.Select(static n => n.Name)];
        HashSet<StageNode> gone = [.. Nodes.Where(n => names.Contains(n.Name))];
        if (gone.Any(HoldsName))
            return null;
        PastStages past = Past;
        foreach (StageNode node in gone)
            past = past.With(node.Report(), node.Inputs.Select(TotalsOf));
        return Without(gone) with { Past = past };
    }

    /// <summary>The stages of a branch, and of those that were attached inside of it.</summary>
    public IEnumerable<StageNode> StagesIn(BranchScope scope) => Nodes.Where(n => n.Scope?.IsIn(scope) == true);

    public IEnumerable<StageNode> ReadersOf(Link link) => Nodes.Where(n => n.Inputs.Contains(link));

    /// <summary>The stages from which another can be reached, in the order of the graph.</summary>
    /// <param name="stage">The other stage.</param>
    /// <param name="scope">The branch to stay in: what lies before it goes on without it. Null for the whole graph.</param>
    public IEnumerable<StageNode> UpstreamOf(StageNode stage, BranchScope? scope)
    {
        var upstream = new HashSet<StageNode>();
        var next = new Queue<StageNode>([stage]);
        while (next.TryDequeue(out StageNode? node))
        {
            foreach (StageNode writer in node.Inputs.Select(WriterOf))
            {
                if ((scope is null || writer.Scope?.IsIn(scope) == true) && upstream.Add(writer))
                    next.Enqueue(writer);
            }
        }

        return Nodes.Where(upstream.Contains);
    }

    /// <summary>What counts now: the stages of a branch that is being attached do once it has joined.</summary>
    public GraphShape Counted()
    {
        // Each branch is asked once, because it may join meanwhile: it counts as a whole or not at all.
        HashSet<BranchScope> outside = [.. Nodes.Select(static n => n.Scope).OfType<BranchScope>().Distinct().Where(static s => !s.HasJoined)];
        return Without([.. Nodes.Where(n => BranchScope.IsInAny(n.Scope, outside.Contains))]);
    }

    /// <summary>The numbers of the stages.</summary>
    public IReadOnlyList<StageReport> ReportStages() => [.. Past.AddTo([.. Nodes.Select(static n => n.Report())])];

    /// <summary>The names of the stages that were left behind.</summary>
    public IReadOnlyList<string> NamesOfAbandoned() => [.. Nodes.Where(static n => n.IsAbandoned).Select(static n => n.Name)];

    /// <summary>The numbers of the links.</summary>
    public IReadOnlyList<LinkReport> ReportLinks() => [.. Past.AddTo([.. Links.Select(ReportOf)])];

    private static StageNode WriterOf(Link link) => (StageNode)link.Writer;

    /// <summary>The numbers of a link now. Counting what is queued takes a lock of its block.</summary>
    private static LinkReport ReportOf(Link link)
    {
        int held = link.SlotsHeld;
        return TotalsOf(link) with { Queued = Math.Min(link.Queued, held), SlotsHeld = held };
    }

    private static LinkReport TotalsOf(Link link)
    {
        LinkCounts counts = link.Counts;
        return new LinkReport(link.From, link.To, link.Capacity, counts.Sent, counts.Received, counts.Discarded, counts.Dropped) { IsOptional = link.IsOptional };
    }

    private GraphShape Without(HashSet<StageNode> gone)
    {
        HashSet<Link> goneLinks = [.. gone.SelectMany(static n => n.Inputs)];
        return this with { Nodes = [.. Nodes.Where(n => !gone.Contains(n))], Links = [.. Links.Where(l => !goneLinks.Contains(l))] };
    }

    [Conditional("DEBUG")]
    private void AssertWhole()
    {
        Debug.Assert(Nodes.Select(static n => n.Name).Distinct().Count() == Nodes.Count, "Every stage has a name of its own.");
        Debug.Assert(Links.ToHashSet().SetEquals(Nodes.SelectMany(static n => n.Inputs)), "The links are those that the stages read.");
        Debug.Assert(Links.All(l => Nodes.Contains(WriterOf(l)) || WriterOf(l).Completion.IsCompleted), "Every link is written by a stage of the run, or is over.");
    }
}
