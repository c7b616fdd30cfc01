namespace Puma.Dataflow;

/// <summary>When a stage with several inputs completes.</summary>
public enum FanIn
{
    /// <summary>When all inputs have ended. This is the default.</summary>
    All,

    /// <summary>When the first input has completed; the stages before the others are told that nobody wants more.</summary>
    Any,
}
