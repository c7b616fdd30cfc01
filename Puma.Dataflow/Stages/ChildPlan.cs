using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Supervision;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>The ends of an isolated stage in this process, typed.</summary>
/// <param name="Recipe">How its user code is made in the child.</param>
/// <param name="Inputs">Makes the inputs, by port.</param>
/// <param name="Outputs">Makes the outputs of one child, by port.</param>
/// <param name="HasBody">Whether the code runs of its own accord.</param>
/// <param name="IsOneToOne">Whether every item makes exactly one output.</param>
/// <param name="IsPartitioned">Whether the key of an item chooses its child.</param>
/// <param name="HasPorts">Whether the code wants to know of the end of each input.</param>
/// <param name="IsForeign">Whether it is a block that does not tell which outputs belong to which item.</param>
/// <param name="OneAtATime">Whether a child is given an item only when it is free for it, so that none waits behind another while a child is idle.</param>
/// <param name="OnSent">Called when an item was sent to a child.</param>
internal sealed record ChildPlan(
    Recipe Recipe,
    IReadOnlyList<Func<StageNode, Link, ItemCodecs, ChildInput>> Inputs,
    IReadOnlyList<Func<StageNode, Link, ItemCodecs, ChildOutput>> Outputs,
    bool HasBody = false,
    bool IsOneToOne = false,
    bool IsPartitioned = false,
    bool HasPorts = false,
    bool IsForeign = false,
    bool OneAtATime = false,
    Action<HeldInput, Child>? OnSent = null)
{
    /// <summary>Whether short items may be held and sent in packs: each is settled by its one result, and nobody asks for a single one.</summary>
    public bool MayPack => IsOneToOne && !OneAtATime && OnSent is null && Inputs.Count == 1;
}
