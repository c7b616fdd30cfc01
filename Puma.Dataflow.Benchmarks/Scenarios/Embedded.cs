using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>A transform in the middle of a graph of TPL blocks: a pipeline as a block, or a block. Sensitive to the doors between the two.</summary>
internal static class Embedded
{
    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="items">How many items go through.</param>
    public static Scenario AsBlock(int capacity, int items)
    {
        return new("embedded", capacity, items, static n => Sum.OfFirst(n) + n,
            [
                new("puma", n => RunAsync(n, LinkKind.Burst)),
                new("puma-bufferblock", n => RunAsync(n, LinkKind.BufferBlock)),
                new("tpl", n => RunAsync(n, links: null)),
            ]);

        async Task<long> RunAsync(int n, LinkKind? links)
        {
            Sum sum = new();
            StageOptions options = new() { BoundedCapacity = capacity };
            IPropagatorBlock<int, int> middle = links is { } kind
                ? Pipeline.Accept<int>(options).Transform(static x => x + 1, options).AsBlock(Quiet.With(kind))
                : new TransformBlock<int, int>(static x => x + 1, TplLoops.Options(capacity, isWiredBest: true));
            var first = new BufferBlock<int>(new() { BoundedCapacity = capacity });
            var sink = new ActionBlock<int>(sum.Add, TplLoops.Options(capacity, isWiredBest: true));
            first.LinkTo(middle, TplLoops.Propagating);
            middle.LinkTo(sink, TplLoops.Propagating);
            await TplLoops.FeedAsync(first, n, static i => i, isWiredBest: true);
            await sink.Completion;
            return sum.Value;
        }
    }
}
