using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Akka.Streams.Dsl;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>Every item to two sinks, none lost: the slower one paces. TPL has no block for it, so its items are sent by hand.</summary>
internal static class FanOut
{
    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="items">How many items go through.</param>
    public static Scenario ToTwo(int capacity, int items)
    {
        return new("broadcast2", capacity, items, static n => 2 * Sum.OfFirst(n),
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
            Sum one = new(), two = new();
            StageOptions options = new() { BoundedCapacity = capacity };
            await using PipelineRun run = Pipeline.From(Enumerable.Range(0, n))
                .Broadcast(b => b.ForEach(one.Add, options), b => b.ForEach(two.Add, options))
                .Build(Quiet.With(links)).Start();
            await run.Completion;
            return one.Value + two.Value;
        }

        // The usual lossless fan-out: an ActionBlock that sends each item to both.
        async Task<long> TplAsync(int n, bool isWiredBest)
        {
            Sum first = new(), second = new();
            ExecutionDataflowBlockOptions options = TplLoops.Options(capacity, isWiredBest);
            ActionBlock<int> one = new(first.Add, options), two = new(second.Add, options);
            var fan = new ActionBlock<int>(async x =>
            {
                await TplLoops.GiveAsync(one, x, isWiredBest);
                await TplLoops.GiveAsync(two, x, isWiredBest);
            }, options);
            await TplLoops.FeedAsync(fan, n, static i => i, isWiredBest);
            await fan.Completion;
            one.Complete();
            two.Complete();
            await Task.WhenAll(one.Completion, two.Completion);
            return first.Value + second.Value;
        }

        async Task<long> ChannelsAsync(int n)
        {
            Sum first = new(), second = new();
            Channel<int> source = ChannelLoops.Create<int>(capacity), one = ChannelLoops.Create<int>(capacity), two = ChannelLoops.Create<int>(capacity);
            Task fan = Task.Run(async () =>
            {
                while (await source.Reader.WaitToReadAsync())
                {
                    while (source.Reader.TryRead(out int item))
                    {
                        if (!one.Writer.TryWrite(item))
                            await one.Writer.WriteAsync(item);
                        if (!two.Writer.TryWrite(item))
                            await two.Writer.WriteAsync(item);
                    }
                }

                one.Writer.Complete();
                two.Writer.Complete();
            });
            Task[] sinks = [Task.Run(() => ChannelLoops.ForEachAsync(one.Reader, first.Add)), Task.Run(() => ChannelLoops.ForEachAsync(two.Reader, second.Add))];
            await ChannelLoops.FeedAsync(source.Writer, n, static i => i);
            await fan;
            await Task.WhenAll(sinks);
            return first.Value + second.Value;
        }

        async Task<long> AkkaAsync(int n)
        {
            Sum one = new(), two = new();
            await Source.From(Enumerable.Range(0, n)).Async()
                .AlsoTo(Flow.Create<int>().Async().To(Sink.ForEach<int>(one.Add)).WithAttributes(AkkaHost.Buffers(capacity))).Async()
                .WithAttributes(AkkaHost.Buffers(capacity))
                .RunForeach(two.Add, AkkaHost.Materializer);

            // Only the end of the second sink can be awaited; the first is an item or so behind.
            while (one.Count < n)
                await Task.Yield();
            return one.Value + two.Value;
        }
    }

    private static long Loop(int n)
    {
        Sum one = new(), two = new();
        for (int i = 0; i < n; i++)
        {
            one.Add(i);
            two.Add(i);
        }

        return one.Value + two.Value;
    }
}
