namespace Puma.Dataflow.Lifecycle;

/// <summary>What a stage is made from when a run starts.</summary>
/// <param name="Name">Its unique name.</param>
/// <param name="Kind">What the user wrote, for example <c>transform</c>.</param>
/// <param name="Options">Its options, with everything decided.</param>
/// <param name="Graph">The run that it belongs to.</param>
internal sealed record StageSetup(string Name, string Kind, StageOptions Options, CompletionGraph Graph)
{
    /// <summary>What the user calls the option that limits the time of an item.</summary>
    public string ItemTimeoutName { get; init; } = nameof(StageOptions.ItemTimeout);
}
