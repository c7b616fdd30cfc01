using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Akka.Streams.Dsl;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>Single items in, arrays out. Sensitive to the cost of an item until its batch is full, and to the arrays.</summary>
internal static class Batches
{
    private const int Size = 100;

    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="items">How many items go through.</param>
    public static Scenario OfHundred(int capacity, int items)
    {
        return new("batch100", capacity, items, Sum.OfFirst,
            [
                new("puma", n => PumaAsync(n, LinkKind.Burst)),
                new("puma-bufferblock", n => PumaAsync(n, LinkKind.BufferBlock)),
                new("tpl", n => TplAsync(n, isWiredBest: true)),
                new("tpl-usual", n => TplAsync(n, isWiredBest: false)),
                new("channels", ChannelsAsync),
                new("akka", AkkaAsync),
                new("loop", static n => Task.FromResult(Loop(n))),
            ]);

        async Task<long> PumaAsync(int n, LinkKind links)
        {
            Sum sum = new();
            await using PipelineRun run = Pipeline.From(Enumerable.Range(0, n))
                .Batch(Size, options: new() { BoundedCapacity = capacity })
                .ForEach(batch => AddAll(sum, batch), new() { BoundedCapacity = capacity })
                .Build(Quiet.With(links)).Start();
            await run.Completion;
            return sum.Value;
        }

        async Task<long> TplAsync(int n, bool isWiredBest)
        {
            Sum sum = new();
            var batches = new BatchBlock<int>(Size, new() { BoundedCapacity = Math.Max(Size, capacity) });
            var sink = new ActionBlock<int[]>(batch => AddAll(sum, batch), TplLoops.Options(capacity, isWiredBest));
            batches.LinkTo(sink, TplLoops.Propagating);
            await TplLoops.FeedAsync(batches, n, static i => i, isWiredBest);
            await sink.Completion;
            return sum.Value;
        }

        async Task<long> ChannelsAsync(int n)
        {
            Sum sum = new();
            Channel<int> items = ChannelLoops.Create<int>(capacity);
            Channel<int[]> batches = ChannelLoops.Create<int[]>(capacity);
            Task batching = Task.Run(async () =>
            {
                List<int> batch = new(Size);
                while (await items.Reader.WaitToReadAsync())
                {
                    while (items.Reader.TryRead(out int item))
                    {
                        batch.Add(item);
                        if (batch.Count < Size)
                            continue;
                        await batches.Writer.WriteAsync([.. batch]);
                        batch.Clear();
                    }
                }

                await batches.Writer.WriteAsync([.. batch]);
                batches.Writer.Complete();
            });
            Task sink = Task.Run(() => ChannelLoops.ForEachAsync(batches.Reader, batch => AddAll(sum, batch)));
            await ChannelLoops.FeedAsync(items.Writer, n, static i => i);
            await Task.WhenAll(batching, sink);
            return sum.Value;
        }

        async Task<long> AkkaAsync(int n)
        {
            Sum sum = new();
            await Source.From(Enumerable.Range(0, n)).Async()
                .Grouped(Size).Async()
                .WithAttributes(AkkaHost.Buffers(capacity))
                .RunForeach(batch => AddAll(sum, batch), AkkaHost.Materializer);
            return sum.Value;
        }
    }

    private static void AddAll(Sum sum, IEnumerable<int> batch)
    {
        foreach (int item in batch)
            sum.Add(item);
    }

    private static long Loop(int n)
    {
        Sum sum = new();
        for (int begin = 0; begin < n; begin += Size)
            AddAll(sum, [.. Enumerable.Range(begin, Math.Min(Size, n - begin))]);
        return sum.Value;
    }
}
