using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>The start of a branch. Its settings come first, then its stages.</summary>
/// <typeparam name="T">The item type.</typeparam>
public sealed class BranchBuilder<T> : PipelineBuilder<BranchInput, T>
{
    private BranchSettings? _branch;

    internal BranchBuilder(StageDefinition stage, int port) : base(stage, port) { }

    internal override BranchSettings? Branch => _branch;

    /// <summary>Gives the branch a name for logs.</summary>
    /// <param name="name">The name.</param>
    /// <exception cref="ArgumentException"><paramref name="name"/> is empty.</exception>
    public BranchBuilder<T> Named(string name)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        _branch = (_branch ?? new BranchSettings()) with { Name = name };
        return this;
    }

    /// <summary>Lets the branch fault alone: it is detached, its loss counted and logged, and the run goes on.</summary>
    public BranchBuilder<T> Optional()
    {
        _branch = (_branch ?? new BranchSettings()) with { IsOptional = true };
        return this;
    }

    /// <summary>Says what happens when the branch has no slot for an item.</summary>
    /// <param name="mode">What happens; the default of a branch is <see cref="FullMode.Wait"/>.</param>
    /// <param name="capacity">The capacity of the branch, at least 1; default that of its first stage.</param>
    public BranchBuilder<T> WhenFull(FullMode mode, int? capacity = null)
    {
        _branch = (_branch ?? new BranchSettings()) with { FullMode = mode, Capacity = capacity };
        return this;
    }

    /// <summary>Lets user code write a branch that ends by itself.</summary>
    internal static void Write(StageDefinition fan, int port, Func<BranchBuilder<T>, PipelineEnd<BranchInput>> branch)
    {
        ArgumentNullException.ThrowIfNull(branch);
        PipelineEnd<BranchInput> end = branch(new BranchBuilder<T>(fan, port));
        if (end is null || fan.Outputs[port] is null || !GraphOrder.UpstreamOf(end.Stage).Contains(fan))
            throw new ArgumentException($"Branch {port + 1} of the {fan.Kind} stage is not connected: the function must continue its parameter to an end, for example b => b.ForEach(...), and return that end.", nameof(branch));
    }

    /// <summary>Lets user code write a branch that is merged with others.</summary>
    internal static PipelineBuilder<BranchInput, TOut> Write<TOut>(StageDefinition fan, int port, Func<BranchBuilder<T>, PipelineBuilder<BranchInput, TOut>> branch)
    {
        ArgumentNullException.ThrowIfNull(branch);
        PipelineBuilder<BranchInput, TOut> open = branch(new BranchBuilder<T>(fan, port));
        if (open is null || !GraphOrder.UpstreamOf(open.Stage).Contains(fan) || (open.Stage != fan && fan.Outputs[port] is null))
            throw new ArgumentException($"Branch {port + 1} of the {fan.Kind} stage is not connected: the function must continue its parameter and return what it made of it, for example b => b.Transform(...).", nameof(branch));
        return open;
    }
}
