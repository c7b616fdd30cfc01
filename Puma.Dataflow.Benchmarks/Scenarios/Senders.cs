using System.Diagnostics;
using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Akka.Streams;
using Akka.Streams.Dsl;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>Items that a caller sends into three stages: one at a time through an idle pipeline, or in bursts with pauses between them.</summary>
internal static class Senders
{
    /// <summary>One lone item after another; the time is the median of their ways through.</summary>
    /// <param name="items">How many items go through, one after another.</param>
    public static Scenario OneByOne(int items) => Of("lone-item", capacity: 128, items, burst: 1);

    /// <summary>Bursts, each sent when the one before has gone through, so that every stage sleeps and wakes once for each.</summary>
    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="items">How many items go through.</param>
    public static Scenario InBursts(int capacity, int items) => Of("bursts100", capacity, items - (items % 100), burst: 100);

    private static Scenario Of(string name, int capacity, int items, int burst)
    {
        return new(name, capacity, items, Sum.OfFirst,
            [
                new("puma", (n, clock) => PumaAsync(n, clock, LinkKind.Burst)),
                new("puma-bufferblock", (n, clock) => PumaAsync(n, clock, LinkKind.BufferBlock)),
                new("tpl", (n, clock) => TplAsync(n, clock, isWiredBest: true)),
                new("tpl-usual", (n, clock) => TplAsync(n, clock, isWiredBest: false)),
                new("channels", ChannelsAsync),
                new("akka", AkkaAsync),
            ]);

        async Task<long> PumaAsync(int n, Clock clock, LinkKind links)
        {
            Arrivals arrivals = new(burst);
            StageOptions options = new() { BoundedCapacity = capacity };
            await using PipelineRun<int> run = Pipeline.Accept<int>(options)
                .Transform(static x => x, options)
                .ForEach(arrivals.Add, options)
                .Build(Quiet.With(links)).Start();
            await run.Started;
            await SendAsync(n, clock, arrivals, item => run.SendAsync(item));
            run.Complete();
            await run.Completion;
            return arrivals.Sum;
        }

        // Three blocks, like the three stages: one that only passes on stands for the entry.
        async Task<long> TplAsync(int n, Clock clock, bool isWiredBest)
        {
            Arrivals arrivals = new(burst);
            ExecutionDataflowBlockOptions options = TplLoops.Options(capacity, isWiredBest);
            var entry = new TransformBlock<int, int>(static x => x, options);
            var transform = new TransformBlock<int, int>(static x => x, options);
            var sink = new ActionBlock<int>(arrivals.Add, options);
            entry.LinkTo(transform, TplLoops.Propagating);
            transform.LinkTo(sink, TplLoops.Propagating);
            await SendAsync(n, clock, arrivals, item => TplLoops.GiveAsync(entry, item, isWiredBest));
            entry.Complete();
            await sink.Completion;
            return arrivals.Sum;
        }

        async Task<long> ChannelsAsync(int n, Clock clock)
        {
            Arrivals arrivals = new(burst);
            Channel<int> first = ChannelLoops.Create<int>(capacity), second = ChannelLoops.Create<int>(capacity), third = ChannelLoops.Create<int>(capacity);
            Task[] loops =
            [
                Task.Run(() => ChannelLoops.StepAsync(first.Reader, second.Writer, static x => x)),
                Task.Run(() => ChannelLoops.StepAsync(second.Reader, third.Writer, static x => x)),
                Task.Run(() => ChannelLoops.ForEachAsync(third.Reader, arrivals.Add)),
            ];
            await SendAsync(n, clock, arrivals, item => first.Writer.TryWrite(item) ? default : first.Writer.WriteAsync(item));
            first.Writer.Complete();
            await Task.WhenAll(loops);
            return arrivals.Sum;
        }

        async Task<long> AkkaAsync(int n, Clock clock)
        {
            Arrivals arrivals = new(burst);
            (ISourceQueueWithComplete<int> queue, Task end) = Source.Queue<int>(capacity, OverflowStrategy.Backpressure).Async()
                .Select(static x => x).Async()
                .ToMaterialized(Sink.ForEach<int>(arrivals.Add), static (queue, end) => ((ISourceQueueWithComplete<int>, Task))(queue, end))
                .Run(AkkaHost.Materializer);
            await SendAsync(n, clock, arrivals, async item => await queue.OfferAsync(item));
            queue.Complete();
            await end;
            return arrivals.Sum;
        }

        async Task SendAsync(int n, Clock clock, Arrivals arrivals, Func<int, ValueTask> send)
        {
            var nanoseconds = new double[n / burst];
            clock.Begin();
            for (int i = 0; i < n;)
            {
                long begin = Stopwatch.GetTimestamp();
                int at = i / burst;
                for (int end = i + burst; i < end; i++)
                    await send(i);
                await arrivals.NextAsync();
                nanoseconds[at] = (Stopwatch.GetTimestamp() - begin) * 1e9 / Stopwatch.Frequency; // A TimeSpan has steps of 100 ns.
            }

            Array.Sort(nanoseconds);
            clock.Tell(nanoseconds[nanoseconds.Length / 2] / burst);
        }
    }

    /// <summary>What has arrived; tells the sender when a burst has, and allocates nothing for that.</summary>
    private sealed class Arrivals(int burst) : System.Threading.Tasks.Sources.IValueTaskSource
    {
        private System.Threading.Tasks.Sources.ManualResetValueTaskSourceCore<bool> _arrived = new() { RunContinuationsAsynchronously = true };
        private int _count;

        public long Sum { get; private set; }

        public void Add(int value)
        {
            Sum += value;
            if (++_count % burst == 0)
                _arrived.SetResult(true);
        }

        /// <summary>Ends when the next burst has arrived as a whole.</summary>
        public ValueTask NextAsync() => new(this, _arrived.Version);

        public void GetResult(short token)
        {
            _arrived.GetResult(token);
            _arrived.Reset();
        }

        public System.Threading.Tasks.Sources.ValueTaskSourceStatus GetStatus(short token) => _arrived.GetStatus(token);

        public void OnCompleted(Action<object?> continuation, object? state, short token, System.Threading.Tasks.Sources.ValueTaskSourceOnCompletedFlags flags) =>
            _arrived.OnCompleted(continuation, state, token, flags);
    }
}
