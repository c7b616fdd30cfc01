namespace Puma.Dataflow.Lifecycle;

/// <summary>What a stage may be told from outside.</summary>
[Flags]
internal enum Attention
{
    None = 0,

    /// <summary>A source ends as soon as it can; everything that was emitted stays.</summary>
    Stop = 1,

    /// <summary>The stage ends early, as completed; its inputs are told that nobody wants more.</summary>
    Finish = 2,

    /// <summary>Something waits in the control lane.</summary>
    Control = 4,

    /// <summary>The stage gives up what it holds.</summary>
    Discard = 8,
}
