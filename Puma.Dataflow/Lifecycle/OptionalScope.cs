namespace Puma.Dataflow.Lifecycle;

/// <summary>An optional branch: the stages that may fault without faulting the run.</summary>
internal sealed class OptionalScope(string name)
{
    private int _isDetached;

    public string Name => name;

    /// <summary>Filled before the run starts, then read only.</summary>
    public List<StageNode> Nodes { get; } = [];

    /// <summary>Marks the branch as detached.</summary>
    /// <returns>True for the first caller.</returns>
    public bool TryDetach() => Interlocked.Exchange(ref _isDetached, 1) == 0;
}
