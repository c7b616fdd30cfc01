namespace Puma.Dataflow;

/// <summary>Marks a pipeline that is sent nothing: it has a source of its own. Nobody can make one.</summary>
public sealed class NoInput
{
    private NoInput() { }
}

/// <summary>Marks the inside of a branch. Nobody can make one.</summary>
public sealed class BranchInput
{
    private BranchInput() { }
}
