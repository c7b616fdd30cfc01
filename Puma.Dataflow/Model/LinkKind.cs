using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow;

/// <summary>What carries items from one stage to the next.</summary>
public enum LinkKind
{
    /// <summary>A ring between one writer and one reader, which neither locks nor allocates. Ends that foreign code reads, and branches that drop their oldest item, are buffer blocks all the same.</summary>
    Burst,

    /// <summary>A bounded <see cref="BufferBlock{T}"/>, read in bursts.</summary>
    BufferBlock,
}
