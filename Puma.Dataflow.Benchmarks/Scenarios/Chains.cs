using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Akka.Streams.Dsl;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>A source, some transforms and a sink with next to no work, so that what is measured is the hand-over.</summary>
internal static class Chains
{
    /// <param name="stages">The stages, source and sink included.</param>
    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="items">How many items go through.</param>
    public static Scenario OfInts(int stages, int capacity, int items) =>
        Of($"chain{stages}-int", stages, capacity, items, static i => i, static x => x + 1, static x => x, static n => n);

    /// <inheritdoc cref="OfInts"/>
    public static Scenario OfStructs(int stages, int capacity, int items) =>
        Of($"chain{stages}-struct", stages, capacity, items, static i => new Reading(i, 1, 2, 3), static x => x with { Number = x.Number + 1 }, static x => x.Number, static n => n);

    /// <inheritdoc cref="OfInts"/>
    public static Scenario OfReferences(int stages, int capacity, int items)
    {
        // Made before, so that no subject is charged with them.
        Box[] boxes = [.. Enumerable.Range(0, 1024).Select(static i => new Box(i))];
        return Of($"chain{stages}-ref", stages, capacity, items, i => boxes[i & 1023], static x => x, static x => x.Value, static _ => 0);
    }

    private static Scenario Of<T>(string name, int stages, int capacity, int items, Func<int, T> make, Func<T, T> step, Func<T, long> valueOf, Func<long, long> addedByStep)
    {
        int transforms = stages - 2;
        return new(
            name,
            capacity,
            items,
            n => Enumerable.Range(0, n).Sum(i => valueOf(make(i))) + (transforms * addedByStep(n)),
            [
                new("puma", n => PumaAsync(n, LinkKind.Burst)),
                new("puma-bufferblock", n => PumaAsync(n, LinkKind.BufferBlock)),
                new("tpl", n => TplAsync(n, isWiredBest: true)),
                new("tpl-usual", n => TplAsync(n, isWiredBest: false)),
                new("channels", ChannelsAsync),
                new("akka", n => AkkaAsync(n, hasBoundaries: true)),
                new("akka-fused", n => AkkaAsync(n, hasBoundaries: false)),
                new("loop", n => Task.FromResult(Loop(n))),
            ]);

        async Task<long> PumaAsync(int n, LinkKind links)
        {
            Sum sum = new();
            StageOptions options = new() { BoundedCapacity = capacity };
            PipelineBuilder<NoInput, T> chain = Pipeline.From(Made(n));
            for (int i = 0; i < transforms; i++)
                chain = chain.Transform(step, options);
            await using PipelineRun run = chain.ForEach(x => sum.Add(valueOf(x)), options).Build(Quiet.With(links)).Start();
            await run.Completion;
            return sum.Value;
        }

        async Task<long> TplAsync(int n, bool isWiredBest)
        {
            Sum sum = new();
            ExecutionDataflowBlockOptions options = TplLoops.Options(capacity, isWiredBest);
            var sink = new ActionBlock<T>(x => sum.Add(valueOf(x)), options);
            ITargetBlock<T> first = sink;
            for (int i = 0; i < transforms; i++)
            {
                var transform = new TransformBlock<T, T>(step, options);
                transform.LinkTo(first, TplLoops.Propagating);
                first = transform;
            }

            await TplLoops.FeedAsync(first, n, make, isWiredBest);
            await sink.Completion;
            return sum.Value;
        }

        async Task<long> ChannelsAsync(int n)
        {
            Sum sum = new();
            Channel<T>[] channels = [.. Enumerable.Range(0, stages - 1).Select(_ => ChannelLoops.Create<T>(capacity))];
            List<Task> loops = [.. Enumerable.Range(0, transforms).Select(i => Task.Run(() => ChannelLoops.StepAsync(channels[i].Reader, channels[i + 1].Writer, step)))];
            loops.Add(Task.Run(() => ChannelLoops.ForEachAsync(channels[^1].Reader, x => sum.Add(valueOf(x)))));
            await ChannelLoops.FeedAsync(channels[0].Writer, n, make);
            await Task.WhenAll(loops);
            return sum.Value;
        }

        async Task<long> AkkaAsync(int n, bool hasBoundaries)
        {
            Sum sum = new();
            Source<T, Akka.NotUsed> chain = Bound(Source.From(Made(n)));
            for (int i = 0; i < transforms; i++)
                chain = Bound(chain.Select(step));
            await chain.WithAttributes(AkkaHost.Buffers(capacity)).RunForeach(x => sum.Add(valueOf(x)), AkkaHost.Materializer);
            return sum.Value;

            Source<T, Akka.NotUsed> Bound(Source<T, Akka.NotUsed> source) => hasBoundaries ? source.Async() : source;
        }

        long Loop(int n)
        {
            Sum sum = new();
            for (int i = 0; i < n; i++)
            {
                T item = make(i);
                for (int t = 0; t < transforms; t++)
                    item = step(item);
                sum.Add(valueOf(item));
            }

            return sum.Value;
        }

        IEnumerable<T> Made(int n)
        {
            for (int i = 0; i < n; i++)
                yield return make(i);
        }
    }

    private sealed record Box(long Value);
}
