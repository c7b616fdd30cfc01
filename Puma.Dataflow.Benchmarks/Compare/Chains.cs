using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Akka.Streams;
using Akka.Streams.Dsl;

namespace Puma.Dataflow.Benchmarks.Compare;

/// <summary>A source, some transforms and a sink with next to no work, so that what is measured is the hand-over.</summary>
internal static class Chains
{
    /// <param name="stages">The stages, source and sink included.</param>
    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="items">How many items go through.</param>
    public static Scenario OfInts(int stages, int capacity, int items) =>
        Of($"chain{stages}-int", stages, capacity, items, static i => i, static x => x + 1, static x => x, static n => n);

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
                new("akka", AkkaAsync),
                new("loop", n => Task.FromResult(Loop(n))),
            ]);

        async Task<long> PumaAsync(int n, LinkKind links)
        {
            long sum = 0;
            StageOptions options = new() { BoundedCapacity = capacity };
            PipelineBuilder<NoInput, T> chain = Pipeline.From(Made(n));
            for (int i = 0; i < transforms; i++)
                chain = chain.Transform(step, options);
            await using PipelineRun run = chain.ForEach(x => { sum += valueOf(x); }, options).Build(Quiet.Options with { Links = links }).Start();
            await run.Completion;
            return sum;
        }

        async Task<long> TplAsync(int n, bool isWiredBest)
        {
            long sum = 0;
            ExecutionDataflowBlockOptions options = new() { BoundedCapacity = capacity, SingleProducerConstrained = isWiredBest };
            TransformBlock<T, T>[] blocks = [.. Enumerable.Range(0, transforms).Select(_ => new TransformBlock<T, T>(step, options))];
            var sink = new ActionBlock<T>(x => sum += valueOf(x), options);
            for (int i = 0; i < transforms; i++)
                blocks[i].LinkTo(i + 1 < transforms ? blocks[i + 1] : sink, new() { PropagateCompletion = true });
            for (int i = 0; i < n; i++)
            {
                T item = make(i);
                if (!isWiredBest || !blocks[0].Post(item))
                    await blocks[0].SendAsync(item);
            }

            blocks[0].Complete();
            await sink.Completion;
            return sum;
        }

        async Task<long> ChannelsAsync(int n)
        {
            BoundedChannelOptions options = new(capacity) { SingleReader = true, SingleWriter = true };
            Channel<T>[] channels = [.. Enumerable.Range(0, stages - 1).Select(_ => Channel.CreateBounded<T>(options))];
            Task[] loops = [.. Enumerable.Range(0, transforms).Select(i => Task.Run(() => StepAsync(channels[i].Reader, channels[i + 1].Writer)))];
            Task<long> sink = Task.Run(() => SumAsync(channels[^1].Reader));
            for (int i = 0; i < n; i++)
            {
                T item = make(i);
                if (!channels[0].Writer.TryWrite(item))
                    await channels[0].Writer.WriteAsync(item);
            }

            channels[0].Writer.Complete();
            await Task.WhenAll(loops);
            return await sink;
        }

        async Task StepAsync(ChannelReader<T> from, ChannelWriter<T> to)
        {
            while (await from.WaitToReadAsync())
            {
                while (from.TryRead(out T? item))
                {
                    T made = step(item);
                    if (!to.TryWrite(made))
                        await to.WriteAsync(made);
                }
            }

            to.Complete();
        }

        async Task<long> SumAsync(ChannelReader<T> from)
        {
            long sum = 0;
            while (await from.WaitToReadAsync())
            {
                while (from.TryRead(out T? item))
                    sum += valueOf(item);
            }

            return sum;
        }

        async Task<long> AkkaAsync(int n)
        {
            long sum = 0;
            Source<T, Akka.NotUsed> chain = Source.From(Made(n)).Async();
            for (int i = 0; i < transforms; i++)
                chain = chain.Select(step).Async();
            await chain.WithAttributes(Attributes.CreateInputBuffer(capacity, capacity)).RunForeach(x => sum += valueOf(x), AkkaHost.Materializer);
            return sum;
        }

        long Loop(int n)
        {
            long sum = 0;
            for (int i = 0; i < n; i++)
            {
                T item = make(i);
                for (int t = 0; t < transforms; t++)
                    item = step(item);
                sum += valueOf(item);
            }

            return sum;
        }

        IEnumerable<T> Made(int n)
        {
            for (int i = 0; i < n; i++)
                yield return make(i);
        }
    }

    private sealed record Box(long Value);
}
