using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Akka.Streams.Dsl;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>Several instances of one transform.</summary>
internal static class Pools
{
    /// <summary>Four instances with next to no work, whose results keep the order of the input.</summary>
    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="items">How many items go through.</param>
    public static Scenario Ordered(int capacity, int items) =>
        Of("parallel4-ordered", 4, isOrdered: true, capacity, items, static x => x + 1, static n => OrderedSum.Of(Enumerable.Range(1, n)));

    /// <summary>Four instances with next to no work, whose results come in any order.</summary>
    /// <inheritdoc cref="Ordered"/>
    public static Scenario Unordered(int capacity, int items) =>
        Of("parallel4-unordered", 4, isOrdered: false, capacity, items, static x => x + 1, static n => Sum.OfFirst(n) + n);

    /// <summary>Two instances, each item 10 microseconds of work: what is lost beside two plain threads.</summary>
    /// <inheritdoc cref="Ordered"/>
    public static Scenario OfWork(int capacity, int items)
    {
        Scenario scenario = Of("work10us-2", 2, isOrdered: true, capacity, items, Work, static n => OrderedSum.Of(Enumerable.Range(1, n)));

        // The limit is two plain threads, each with one half of the items. Runs are longer than others: the question is not how long it takes to start.
        return scenario with
        {
            LongestRun = TimeSpan.FromMilliseconds(250),
            Subjects = [.. scenario.Subjects.Where(static s => s.Name != "loop"), new("loop", n => Task.FromResult(TwoThreads(n)))],
        };
    }

    private static int Work(int item)
    {
        long end = System.Diagnostics.Stopwatch.GetTimestamp() + (System.Diagnostics.Stopwatch.Frequency / 100_000);
        while (System.Diagnostics.Stopwatch.GetTimestamp() < end)
        {
            // Busy, as real work is.
        }

        return item + 1;
    }

    private static long TwoThreads(int n)
    {
        var results = new int[n];
        Thread[] threads = [new(() => Run(0)), new(() => Run(1))];
        foreach (Thread thread in threads)
            thread.Start();
        foreach (Thread thread in threads)
            thread.Join();
        return OrderedSum.Of(results);

        void Run(int first)
        {
            for (int i = first; i < n; i += 2)
                results[i] = Work(i);
        }
    }

    private static Scenario Of(string name, int instances, bool isOrdered, int capacity, int items, Func<int, int> work, Func<int, long> checksum)
    {
        return new(name, capacity, items, checksum,
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
            (Action<int> add, Func<long> result) = Collect();
            StageOptions options = new() { BoundedCapacity = capacity };
            await using PipelineRun run = Pipeline.From(Enumerable.Range(0, n))
                .Transform(work, options with { MaxDegreeOfParallelism = instances, EnsureOrdered = isOrdered })
                .ForEach(add, options)
                .Build(Quiet.With(links)).Start();
            await run.Completion;
            return result();
        }

        async Task<long> TplAsync(int n, bool isWiredBest)
        {
            (Action<int> add, Func<long> result) = Collect();
            ExecutionDataflowBlockOptions options = TplLoops.Options(capacity, isWiredBest, instances);
            options.EnsureOrdered = isOrdered;
            var transform = new TransformBlock<int, int>(work, options);
            var sink = new ActionBlock<int>(add, TplLoops.Options(capacity, isWiredBest));
            transform.LinkTo(sink, TplLoops.Propagating);
            await TplLoops.FeedAsync(transform, n, static i => i, isWiredBest);
            await sink.Completion;
            return result();
        }

        async Task<long> ChannelsAsync(int n)
        {
            (Action<int> add, Func<long> result) = Collect();
            if (isOrdered)
                await OrderedByTasksAsync(n, add);
            else
                await ByReadersAsync(n, add);
            return result();
        }

        // As order is usually kept with channels: a bounded queue of tasks.
        async Task OrderedByTasksAsync(int n, Action<int> add)
        {
            Channel<Task<int>> ordered = ChannelLoops.Create<Task<int>>(capacity);
            using SemaphoreSlim free = new(instances);
            Task sink = Task.Run(async () =>
            {
                await foreach (Task<int> made in ordered.Reader.ReadAllAsync())
                    add(await made);
            });
            for (int i = 0; i < n; i++)
            {
                await free.WaitAsync();
                int item = i;
                await ordered.Writer.WriteAsync(Task.Run(() =>
                {
                    int made = work(item);
                    free.Release();
                    return made;
                }));
            }

            ordered.Writer.Complete();
            await sink;
        }

        async Task ByReadersAsync(int n, Action<int> add)
        {
            var input = Channel.CreateBounded<int>(new BoundedChannelOptions(capacity) { SingleWriter = true });
            var output = Channel.CreateBounded<int>(new BoundedChannelOptions(capacity) { SingleReader = true });
            Task[] workers = [.. Enumerable.Range(0, instances).Select(_ => Task.Run(() => ChannelLoops.ForEachAsync(input.Reader, output.Writer, work)))];
            Task sink = Task.Run(() => ChannelLoops.ForEachAsync(output.Reader, add));
            await ChannelLoops.FeedAsync(input.Writer, n, static i => i);
            await Task.WhenAll(workers);
            output.Writer.Complete();
            await sink;
        }

        async Task<long> AkkaAsync(int n)
        {
            (Action<int> add, Func<long> result) = Collect();
            Source<int, Akka.NotUsed> source = Source.From(Enumerable.Range(0, n)).Async();
            Source<int, Akka.NotUsed> worked = isOrdered ? source.SelectAsync(instances, x => Task.Run(() => work(x))) : source.SelectAsyncUnordered(instances, x => Task.Run(() => work(x)));
            await worked.Async().WithAttributes(AkkaHost.Buffers(capacity)).RunForeach(add, AkkaHost.Materializer);
            return result();
        }

        long Loop(int n)
        {
            (Action<int> add, Func<long> result) = Collect();
            for (int i = 0; i < n; i++)
                add(work(i));
            return result();
        }

        (Action<int> Add, Func<long> Result) Collect()
        {
            if (isOrdered)
            {
                OrderedSum ordered = new();
                return (ordered.Add, () => ordered.Value);
            }

            Sum sum = new();
            return (sum.Add, () => sum.Value);
        }
    }
}
