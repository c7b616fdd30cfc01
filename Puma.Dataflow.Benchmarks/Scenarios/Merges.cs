using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Akka.Streams.Dsl;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>Two sources into one sink. Sensitive to how two writers get at one reader.</summary>
internal static class Merges
{
    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="items">How many items go through, one half from each source.</param>
    public static Scenario OfTwo(int capacity, int items)
    {
        return new("merge2", capacity, items & ~1, static n => 2 * Sum.OfFirst(n / 2),
            [
                new("puma", n => PumaAsync(n, LinkKind.Burst)),
                new("puma-bufferblock", n => PumaAsync(n, LinkKind.BufferBlock)),
                new("tpl", TplAsync),
                new("channels", ChannelsAsync),
                new("akka", AkkaAsync),
                new("loop", static n => Task.FromResult(Loop(n))),
            ]);

        async Task<long> PumaAsync(int n, LinkKind links)
        {
            Sum sum = new();
            StageOptions options = new() { BoundedCapacity = capacity };
            await using PipelineRun run = Pipeline.From(Enumerable.Range(0, n / 2)).Merge(options, Pipeline.From(Enumerable.Range(0, n / 2)))
                .ForEach(sum.Add, options)
                .Build(Quiet.With(links)).Start();
            await run.Completion;
            return sum.Value;
        }

        // Two producers, so the block must not be told that there is one.
        async Task<long> TplAsync(int n)
        {
            Sum sum = new();
            var sink = new ActionBlock<int>(sum.Add, TplLoops.Options(capacity, isWiredBest: false));
            await Task.WhenAll(Task.Run(FeedAsync), Task.Run(FeedAsync));
            sink.Complete();
            await sink.Completion;
            return sum.Value;

            async Task FeedAsync()
            {
                for (int i = 0; i < n / 2; i++)
                    await TplLoops.GiveAsync(sink, i, isWiredBest: true);
            }
        }

        async Task<long> ChannelsAsync(int n)
        {
            Sum sum = new();
            var channel = Channel.CreateBounded<int>(new BoundedChannelOptions(capacity) { SingleReader = true });
            Task sink = Task.Run(() => ChannelLoops.ForEachAsync(channel.Reader, sum.Add));
            await Task.WhenAll(Task.Run(FeedAsync), Task.Run(FeedAsync));
            channel.Writer.Complete();
            await sink;
            return sum.Value;

            async Task FeedAsync()
            {
                for (int i = 0; i < n / 2; i++)
                {
                    if (!channel.Writer.TryWrite(i))
                        await channel.Writer.WriteAsync(i);
                }
            }
        }

        async Task<long> AkkaAsync(int n)
        {
            Sum sum = new();
            await Source.From(Enumerable.Range(0, n / 2)).Async()
                .Merge(Source.From(Enumerable.Range(0, n / 2)).Async()).Async()
                .WithAttributes(AkkaHost.Buffers(capacity))
                .RunForeach(sum.Add, AkkaHost.Materializer);
            return sum.Value;
        }
    }

    private static long Loop(int n)
    {
        Sum sum = new();
        for (int i = 0; i < n; i++)
            sum.Add(i / 2);
        return sum.Value;
    }
}
