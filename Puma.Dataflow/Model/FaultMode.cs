namespace Puma.Dataflow;

/// <summary>What the rest of a run does when one stage faults.</summary>
public enum FaultMode
{
    /// <summary>Stages that are not upstream of the failure finish what has reached them: values first, error last. This is the default.</summary>
    DrainDownstream,

    /// <summary>Every stage discards and counts what it holds.</summary>
    Abort,
}
