using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Akka.Streams;
using Akka.Streams.Dsl;

namespace Puma.Dataflow.Benchmarks.Compare;

/// <summary>Four instances of a transform with next to no work, whose results keep the order of the input.</summary>
internal static class Parallel
{
    private const int Instances = 4;

    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="items">How many items go through.</param>
    public static Scenario Ordered(int capacity, int items)
    {
        return new("parallel4-ordered", capacity, items, static n => OrderSum(Enumerable.Range(1, n)),
            [
                new("puma", n => PumaAsync(n, LinkKind.Burst)),
                new("puma-bufferblock", n => PumaAsync(n, LinkKind.BufferBlock)),
                new("tpl", n => TplAsync(n, isWiredBest: true)),
                new("tpl-usual", n => TplAsync(n, isWiredBest: false)),
                new("channels", ChannelsAsync),
                new("akka", AkkaAsync),
                new("loop", static n => Task.FromResult(OrderSum(Enumerable.Range(1, n)))),
            ]);

        async Task<long> PumaAsync(int n, LinkKind links)
        {
            Fold fold = new();
            StageOptions options = new() { BoundedCapacity = capacity };
            await using PipelineRun run = Pipeline.From(Enumerable.Range(0, n))
                .Transform(static x => x + 1, options with { MaxDegreeOfParallelism = Instances })
                .ForEach(fold.Add, options)
                .Build(Quiet.Options with { Links = links }).Start();
            await run.Completion;
            return fold.Sum;
        }

        async Task<long> TplAsync(int n, bool isWiredBest)
        {
            Fold fold = new();
            var transform = new TransformBlock<int, int>(static x => x + 1, new() { BoundedCapacity = capacity, MaxDegreeOfParallelism = Instances, SingleProducerConstrained = isWiredBest });
            var sink = new ActionBlock<int>(fold.Add, new() { BoundedCapacity = capacity, SingleProducerConstrained = isWiredBest });
            transform.LinkTo(sink, new() { PropagateCompletion = true });
            for (int i = 0; i < n; i++)
            {
                if (!isWiredBest || !transform.Post(i))
                    await transform.SendAsync(i);
            }

            transform.Complete();
            await sink.Completion;
            return fold.Sum;
        }

        // As it is usually done with channels: a bounded queue of tasks keeps the order.
        async Task<long> ChannelsAsync(int n)
        {
            Fold fold = new();
            Channel<Task<int>> ordered = Channel.CreateBounded<Task<int>>(new BoundedChannelOptions(capacity) { SingleReader = true, SingleWriter = true });
            using SemaphoreSlim free = new(Instances);
            Task sink = Task.Run(async () =>
            {
                await foreach (Task<int> result in ordered.Reader.ReadAllAsync())
                    fold.Add(await result);
            });
            for (int i = 0; i < n; i++)
            {
                await free.WaitAsync();
                int item = i;
                await ordered.Writer.WriteAsync(Task.Run(() =>
                {
                    int made = item + 1;
                    free.Release();
                    return made;
                }));
            }

            ordered.Writer.Complete();
            await sink;
            return fold.Sum;
        }

        async Task<long> AkkaAsync(int n)
        {
            Fold fold = new();
            await Source.From(Enumerable.Range(0, n)).Async()
                .SelectAsync(Instances, static x => Task.Run(() => x + 1)).Async()
                .WithAttributes(Attributes.CreateInputBuffer(capacity, capacity))
                .RunForeach(fold.Add, AkkaHost.Materializer);
            return fold.Sum;
        }
    }

    /// <summary>Depends on the order, too.</summary>
    private static long OrderSum(IEnumerable<int> values)
    {
        Fold fold = new();
        foreach (int value in values)
            fold.Add(value);
        return fold.Sum;
    }

    private sealed class Fold
    {
        public long Sum { get; private set; }

        public void Add(int value) => Sum = unchecked((Sum * 31) + value);
    }
}
