using Puma.Dataflow.Buffers;

namespace Puma.Dataflow.Lifecycle;

/// <summary>The stages of a run and who writes to whom. Never changes.</summary>
internal sealed class GraphShape
{
    private readonly Dictionary<Link, StageNode> _writerOf = [];

    public GraphShape(IReadOnlyList<StageNode> nodes, IReadOnlyList<Link> links)
    {
        Nodes = nodes;
        Links = links;
        foreach (StageNode node in nodes)
        {
            foreach (Link output in node.Outputs)
                _writerOf.Add(output, node);
            if (node.DeadLetters is not null)
                _writerOf.Add(node.DeadLetters, node);
        }
    }

    public static GraphShape Empty { get; } = new([], []);

    public IReadOnlyList<StageNode> Nodes { get; }

    /// <summary>Dead-letter links included.</summary>
    public IReadOnlyList<Link> Links { get; }

    public IEnumerable<StageNode> ReadersOf(Link link) => Nodes.Where(n => n.Inputs.Contains(link));

    /// <summary>The stages from which another can be reached, in the order of the graph.</summary>
    /// <param name="stage">The other stage.</param>
    /// <param name="scope">The optional branch to stay in: what lies before it goes on without it. Null for the whole graph.</param>
    public IEnumerable<StageNode> UpstreamOf(StageNode stage, OptionalScope? scope)
    {
        var upstream = new HashSet<StageNode>();
        var next = new Queue<StageNode>([stage]);
        while (next.TryDequeue(out StageNode? node))
        {
            foreach (StageNode writer in node.Inputs.Select(l => _writerOf[l]))
            {
                if ((scope is null || scope.Nodes.Contains(writer)) && upstream.Add(writer))
                    next.Enqueue(writer);
            }
        }

        return Nodes.Where(upstream.Contains);
    }
}
