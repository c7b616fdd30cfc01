using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Akka.Streams;
using Akka.Streams.Dsl;

namespace Puma.Dataflow.Benchmarks.Compare;

/// <summary>Every item to two sinks, none lost: the slower one paces. TPL has no block for it, so its items are sent by hand.</summary>
internal static class FanOut
{
    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="items">How many items go through.</param>
    public static Scenario ToTwo(int capacity, int items)
    {
        return new("broadcast2", capacity, items, static n => (long)n * (n - 1),
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
            Sink one = new(), two = new();
            StageOptions options = new() { BoundedCapacity = capacity };
            await using PipelineRun run = Pipeline.From(Enumerable.Range(0, n))
                .Broadcast(b => b.ForEach(one.Add, options), b => b.ForEach(two.Add, options))
                .Build(Quiet.Options with { Links = links }).Start();
            await run.Completion;
            return one.Sum + two.Sum;
        }

        // The usual lossless fan-out: an ActionBlock that sends each item to both.
        async Task<long> TplAsync(int n, bool isWiredBest)
        {
            Sink first = new(), second = new();
            ExecutionDataflowBlockOptions options = new() { BoundedCapacity = capacity, SingleProducerConstrained = isWiredBest };
            ActionBlock<int> one = new(first.Add, options), two = new(second.Add, options);
            var fan = new ActionBlock<int>(async x =>
            {
                if (!isWiredBest || !one.Post(x))
                    await one.SendAsync(x);
                if (!isWiredBest || !two.Post(x))
                    await two.SendAsync(x);
            }, options);
            for (int i = 0; i < n; i++)
            {
                if (!isWiredBest || !fan.Post(i))
                    await fan.SendAsync(i);
            }

            fan.Complete();
            await fan.Completion;
            one.Complete();
            two.Complete();
            await Task.WhenAll(one.Completion, two.Completion);
            return first.Sum + second.Sum;
        }

        async Task<long> ChannelsAsync(int n)
        {
            BoundedChannelOptions options = new(capacity) { SingleReader = true, SingleWriter = true };
            Channel<int> source = Channel.CreateBounded<int>(options), one = Channel.CreateBounded<int>(options), two = Channel.CreateBounded<int>(options);
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
            Task<long>[] sinks = [Task.Run(() => SumAsync(one.Reader)), Task.Run(() => SumAsync(two.Reader))];
            for (int i = 0; i < n; i++)
            {
                if (!source.Writer.TryWrite(i))
                    await source.Writer.WriteAsync(i);
            }

            source.Writer.Complete();
            await fan;
            return (await Task.WhenAll(sinks)).Sum();
        }

        async Task<long> AkkaAsync(int n)
        {
            Sink one = new(), two = new();
            Attributes buffers = Attributes.CreateInputBuffer(capacity, capacity);
            await Source.From(Enumerable.Range(0, n)).Async()
                .AlsoTo(Flow.Create<int>().Async().To(Akka.Streams.Dsl.Sink.ForEach<int>(one.Add)).WithAttributes(buffers)).Async()
                .WithAttributes(buffers)
                .RunForeach(two.Add, AkkaHost.Materializer);

            // Only the end of the second sink can be awaited; the first is an item or so behind.
            while (one.Count < n)
                await Task.Yield();
            return one.Sum + two.Sum;
        }
    }

    private static async Task<long> SumAsync(ChannelReader<int> from)
    {
        long sum = 0;
        while (await from.WaitToReadAsync())
        {
            while (from.TryRead(out int item))
                sum += item;
        }

        return sum;
    }

    private static long Loop(int n)
    {
        long one = 0, two = 0;
        for (int i = 0; i < n; i++)
        {
            one += i;
            two += i;
        }

        return one + two;
    }

    private sealed class Sink
    {
        private long _count;

        public long Sum { get; private set; }

        public long Count => Volatile.Read(ref _count);

        public void Add(int value)
        {
            Sum += value;
            Volatile.Write(ref _count, _count + 1);
        }
    }
}
