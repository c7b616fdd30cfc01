using Puma.Dataflow.Blocks;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>A connection of two stages, as described; it becomes a link when a run starts.</summary>
internal abstract class Edge(StageDefinition from, int fromPort, StageDefinition to, int toPort, BranchSettings? branch)
{
    public StageDefinition From => from;

    public int FromPort => fromPort;

    public StageDefinition To => to;

    public int ToPort => toPort;

    public BranchSettings? Branch => branch;

    /// <summary>The slots of the link: the reader's, unless the branch says otherwise; an entry may lower them.</summary>
    public int Capacity
    {
        get
        {
            int capacity = branch?.Capacity ?? to.Options.BoundedCapacity;
            return from.IsEntry && from.Options.ExplicitCapacity is { } atEntry ? Math.Min(atEntry, capacity) : capacity;
        }
    }

    /// <summary>What the writer does when there is no slot.</summary>
    public FullMode FullMode => from.IsEntry ? from.Options.FullMode : branch?.FullMode ?? FullMode.Wait;

    public abstract Link CreateLink(StageNode writer, StageNode reader);

    /// <summary>Connects copies of the two stages in the same way.</summary>
    public abstract void CopyTo(StageDefinition newFrom, StageDefinition newTo);
}

/// <inheritdoc/>
internal sealed class Edge<T>(StageDefinition from, int fromPort, StageDefinition to, int toPort, BranchSettings? branch)
    : Edge(from, fromPort, to, toPort, branch)
{
    /// <summary>Connects an output to the next free input of a stage.</summary>
    public static void Connect(StageDefinition from, int fromPort, StageDefinition to, BranchSettings? branch = null)
    {
        var edge = new Edge<T>(from, fromPort, to, to.Inputs.Count, branch);
        while (from.Outputs.Count <= fromPort)
            from.Outputs.Add(null);
        from.Outputs[fromPort] = edge;
        to.Inputs.Add(edge);
    }

    public override Link CreateLink(StageNode writer, StageNode reader) =>
        UsesBufferBlock(writer, reader)
            ? new BufferBlockLink<T>(writer.Name, reader.Name, Capacity, writer, reader) { FullMode = FullMode, IsOptional = IsOptional, OnDiscarded = reader.NoteDiscarded }
            : new BurstLink<T>(writer.Name, reader.Name, Capacity, writer, reader) { FullMode = FullMode, IsOptional = IsOptional, OnDiscarded = reader.NoteDiscarded };

    private bool IsOptional => Branch?.IsOptional ?? false;

    /// <summary>What foreign code reads at an exit is a block, and only a block lets the writer take a value back.</summary>
    private bool UsesBufferBlock(StageNode writer, StageNode reader) =>
        writer.Graph.Options.Links == LinkKind.BufferBlock || reader is ExitStage<T> || FullMode == FullMode.DropOldest;

    public override void CopyTo(StageDefinition newFrom, StageDefinition newTo) => Connect(newFrom, FromPort, newTo, Branch);
}
