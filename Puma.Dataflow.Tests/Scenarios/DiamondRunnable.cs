namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Gives every item to both of its outputs, the left one first.</summary>
public sealed class DiamondRunnable : PortRunnable
{
    public DiamondRunnable() => Items = new Input<int>(async (item, ct) =>
    {
        await Left.EmitAsync(item, ct);
        await Right.EmitAsync(item, ct);
    });

    public Input<int> Items { get; }

    public Output<int> Left { get; } = new();

    public Output<int> Right { get; } = new();

    /// <summary>A diamond: split → left (5 slots) and right (2 slots) → join (2 slots a side) → pairs.</summary>
    internal static PipelineEnd<NoInput> Join(PipelineBuilder<NoInput, int> source, Func<int, ValueTask<int>> left, Func<int, ValueTask<int>> right, List<(int, int)> seen)
    {
        PortBuilder<NoInput, DiamondRunnable> ports = source.Into(static () => new DiamondRunnable(), static r => r.Items, new() { Name = "split", BoundedCapacity = 2 });
        return Pipeline.Join(
                ports.Continue(static r => r.Left).Transform(left, new() { Name = "left", BoundedCapacity = 5 }),
                ports.Continue(static r => r.Right).Transform(right, new() { Name = "right", BoundedCapacity = 2 }),
                new() { Name = "join", BoundedCapacity = 2 })
            .ForEach(seen.Add, new() { Name = "pairs" });
    }
}
