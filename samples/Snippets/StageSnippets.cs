using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Microsoft.Extensions.Logging;
using Puma.Dataflow;
using Puma.Dataflow.Testing;

namespace Snippets;

#region then-runnable
public sealed record HasherOptions(string Algorithm);

public sealed class Hasher(HasherOptions options) : Runnable<byte[], string>
{
    private System.Security.Cryptography.IncrementalHash? _hash;

    protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
    {
        _hash = System.Security.Cryptography.IncrementalHash.CreateHash(new(options.Algorithm));
        return default;
    }

    protected override ValueTask OnItemAsync(byte[] item, CancellationToken cancellationToken)
    {
        _hash!.AppendData(item);
        return EmitAsync(Convert.ToHexString(_hash.GetHashAndReset()), cancellationToken);
    }

    protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
    {
        _hash?.Dispose();
        return default;
    }
}
#endregion

#region from-ticks-runnable
public sealed class Metronome : SourceRunnable<int>
{
    private int _beats;

    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        while (_beats < 3)
            await WaitForControlAsync(stopToken); // returns after each tick or call; throws when the source is to stop
    }

    protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => EmitAsync(++_beats, cancellationToken);
}
#endregion

#region of-runnable
public sealed class Heartbeat(Action beat) : CommandRunnable
{
    protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
    {
        beat();
        return default;
    }
}
#endregion

#region ports-runnable
public sealed class Sorter : PortRunnable
{
    public Sorter() => Numbers = new(OnNumberAsync, OnNumbersEndedAsync);

    public Input<int> Numbers { get; }
    public Output<int> Even { get; } = new();
    public Output<int> Odd { get; } = new();

    private ValueTask OnNumberAsync(int number, CancellationToken ct) =>
        (number % 2 == 0 ? Even : Odd).EmitAsync(number, ct);

    private ValueTask OnNumbersEndedAsync(CancellationToken ct) => Even.EmitAsync(-2, ct);
}
#endregion

#region ports-shared
public sealed class Total : PortRunnable
{
    private int _total;

    public Total()
    {
        var completion = new SharedCompletion(ct => Sum.EmitAsync(_total, ct));
        Income = new((amount, _) => AddAsync(amount), completion);
        Expenses = new((amount, _) => AddAsync(-amount), completion);
    }

    public Input<int> Income { get; }
    public Input<int> Expenses { get; }
    public Output<int> Sum { get; } = new();

    private ValueTask AddAsync(int amount)
    {
        _total += amount;
        return default;
    }
}
#endregion

internal static class StageSnippets
{
    public static async Task RunAsync(string folder, CancellationToken cancellationToken)
    {
        await From();
        await FromTicks();
        await Accept(cancellationToken);
        await Transform(folder);
        await TransformMany(folder);
        await Where();
        await Tap();
        await LogItems();
        await ForEach(cancellationToken);
        await Then();
        await PartitionBy();
        await Ports();
        await SharedCompletion();
        await Through();
        await Part();
        await Batch();
        await Broadcast();
        await Attach();
        await Route();
        await Merge();
        await Join();
        await Take();
        await To();
        await AsBlock();
        await ToAsyncEnumerable();
        await AsObservable();
        await Of();
    }

    private static async Task FromTicks()
    {
        List<int> seen = [];

        #region from-ticks
        Pipeline pipeline = Pipeline.From(static () => new Metronome(), new() { TickInterval = TimeSpan.FromMilliseconds(10) })
            .ForEach(seen.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(seen is [1, 2, 3]);
    }

    private static async Task From()
    {
        List<int> seen = [];

        #region from
        Channel<int> channel = Channel.CreateUnbounded<int>();
        Pipeline fromChannel = Pipeline.From(channel.Reader, new() { Name = "numbers" }).ForEach(seen.Add).Build();
        Pipeline fromSequence = Pipeline.From(Enumerable.Range(0, 100)).ForEach(seen.Add).Build();
        #endregion

        await channel.Writer.WriteAsync(1);
        channel.Writer.Complete();
        await fromChannel.Start().Completion;
        await fromSequence.Start().Completion;
        Check.That(seen.Count == 101);
    }

    private static async Task Accept(CancellationToken cancellationToken)
    {
        List<int> seen = [];

        #region accept
        await using PipelineRun<int> run = Pipeline
            .Accept<int>(new() { BoundedCapacity = 64, SendTimeout = TimeSpan.FromSeconds(5), CompleteWithLastSender = true })
            .ForEach(seen.Add)
            .Build()
            .Start(cancellationToken);
        using (PipelineSender<int> first = run.OpenSender(), second = run.OpenSender())
        {
            await first.SendAsync(1, cancellationToken);
            await second.SendAsync(2, cancellationToken);
        }

        await run.Completion; // the last lease is disposed, so the entry has completed
        #endregion

        Check.That(seen.SequenceEqual([1, 2]));
    }

    private static async Task Transform(string folder)
    {
        List<int> lengths = [];

        #region transform
        Pipeline pipeline = Pipeline.From(Directory.EnumerateFiles(folder))
            .Transform(File.ReadAllBytesAsync, new() { Name = "read", MaxDegreeOfParallelism = 4 })
            .Transform(static bytes => bytes.Length, new() { Name = "measure" })
            .ForEach(lengths.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(lengths.Order().SequenceEqual([5, 7]));
    }

    private static async Task TransformMany(string folder)
    {
        List<string> words = [];

        #region transform-many
        Pipeline pipeline = Pipeline.From(Directory.EnumerateFiles(folder))
            .TransformMany(File.ReadLinesAsync, new() { Name = "lines" })
            .TransformMany(static line => line.Split(' '), new() { Name = "words" })
            .ForEach(words.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(words.Order().SequenceEqual(["one", "three", "two"]));
    }

    private static async Task Where()
    {
        List<string> seen = [];
        object[] things = ["a", 1, "", "b"];

        #region where
        Pipeline pipeline = Pipeline.From(things)
            .OfType<string>()
            .Where(static text => text.Length > 0)
            .ForEach(seen.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(seen.SequenceEqual(["a", "b"]));
    }

    private static async Task Tap()
    {
        long total = 0;

        #region tap
        Pipeline pipeline = Pipeline.From([1, 2, 3])
            .Tap(x => total += x, new() { Name = "total" })
            .ForEach(Console.WriteLine)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(total == 6);
    }

    private static async Task LogItems()
    {
        List<string> seen = [];
        var log = new LogRecorder();
        ILoggerFactory hostLoggers = log;

        #region log-items
        Pipeline pipeline = Pipeline.From(["one", "two"])
            .LogItems()
            .LogItems(LogLevel.Debug, static word => $"{word} has {word.Length} letters", new() { Name = "words" })
            .ForEach(seen.Add)
            .Build(new PipelineOptions { Name = "letters", LoggerFactory = hostLoggers });
        #endregion

        await pipeline.Start().Completion;
        Check.That(seen.Count == 2);
        Check.That(log.Records.Any(static r => r is { Category: "Runnables.letters.log-items", Message: "Item 1: one" }));
        Check.That(log.Records.Any(static r => r is { Category: "Runnables.letters.words", Message: "Item 1: one has 3 letters" }));
    }

    private static async Task ForEach(CancellationToken cancellationToken)
    {
        using var stream = new MemoryStream();
        ReadOnlyMemory<byte>[] chunks = [new byte[3], new byte[4]];

        #region for-each
        Pipeline pipeline = Pipeline.From(chunks)
            .ForEach(stream.WriteAsync, new() { Name = "write", ItemTimeout = TimeSpan.FromSeconds(10) })
            .Build();
        #endregion

        await pipeline.Start(cancellationToken).Completion;
        Check.That(stream.Length == 7);
    }

    private static async Task Then()
    {
        List<string> hashes = [];

        #region then
        Pipeline pipeline = Pipeline.From([new byte[10], new byte[20]])
            .Then(static o => new Hasher(o), new HasherOptions("SHA256"), new() { Name = "hash", MaxDegreeOfParallelism = 2 })
            .ForEach(hashes.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(hashes.Count == 2);
    }

    private static async Task PartitionBy()
    {
        List<string> hashes = [];

        #region partition-by
        Pipeline pipeline = Pipeline.From([new byte[10], new byte[20]])
            .PartitionBy(static bytes => bytes.Length)
            .Then(static () => new Hasher(new HasherOptions("SHA256")), new() { Name = "hash", MaxDegreeOfParallelism = 4 })
            .ForEach(hashes.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(hashes.Count == 2);
    }

    private static async Task Ports()
    {
        List<int> even = [], odd = [];

        #region ports
        Pipeline pipeline = Pipeline.From([1, 2, 3])
            .Into(static () => new Sorter(), r => r.Numbers, new() { Name = "sort" })
            .Branch(r => r.Odd, branch => branch.ForEach(odd.Add))
            .Continue(r => r.Even)
            .ForEach(even.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(even.SequenceEqual([2, -2]) && odd.SequenceEqual([1, 3]));
    }

    private static async Task SharedCompletion()
    {
        List<int> sums = [];

        #region ports-shared-wiring
        Pipeline pipeline = Pipeline.From([100, 20])
            .Into(static () => new Total(), r => r.Income)
            .From(r => r.Expenses, Pipeline.From([30]))
            .Continue(r => r.Sum)
            .ForEach(sums.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(sums.SequenceEqual([90]));
    }

    private static async Task Through()
    {
        List<string> seen = [];

        #region through
        Pipeline pipeline = Pipeline.From([1, 2, 3])
            .Through(static () => new TransformBlock<int, string>(x => $"<{x}>", new() { BoundedCapacity = 8 }), new() { Name = "foreign" })
            .ForEach(seen.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(seen.SequenceEqual(["<1>", "<2>", "<3>"]));
    }

    private static async Task Part()
    {
        List<string> seen = [];

        #region part
        PipelinePart<int, string> part = Pipeline.Accept<int>()
            .Where(static x => x > 0, new() { Name = "positive" })
            .Transform(static x => x.ToString(System.Globalization.CultureInfo.InvariantCulture), new() { Name = "format" })
            .AsPart();
        Pipeline pipeline = Pipeline.From([-1, 1, 2])
            .Through(part, "part") // its stages are 'part/positive' and 'part/format'
            .ForEach(seen.Add)
            .Build();
        #endregion

        PipelineReport report = await pipeline.Start().Completion;
        Check.That(seen.SequenceEqual(["1", "2"]) && report.Stage("part/positive").Accepted == 3);
    }

    private static async Task Batch()
    {
        List<int[]> batches = [];

        #region batch
        Pipeline pipeline = Pipeline.From(Enumerable.Range(0, 250))
            .Batch(100, maxAge: TimeSpan.FromSeconds(1))
            .ForEach(batches.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(batches.Sum(static b => b.Length) == 250);
    }

    private static async Task Broadcast()
    {
        List<int> all = [], audit = [];

        #region broadcast
        Pipeline pipeline = Pipeline.From([1, 2, 3])
            .Broadcast(
                branch => branch.ForEach(all.Add),
                branch => branch.Named("audit").Optional().WhenFull(FullMode.DropOldest, capacity: 1000).ForEach(audit.Add))
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(all.Count == 3 && audit.Count == 3);
    }

    private static async Task Attach()
    {
        List<int> seen = [];

        #region attach
        await using PipelineRun<int> run = Pipeline.Accept<int>()
            .Broadcast(new StageOptions { Name = "fan" })
            .Build()
            .Start();
        await run.SendAsync(1);                             // waits for a branch

        var hasSecond = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        BranchLease lease = await run.Broadcast<int>("fan")
            .AttachAsync(branch => branch.Named("audit").Optional().WhenFull(FullMode.DropOldest, 64).ForEach(x =>
            {
                seen.Add(x);
                if (x == 2)
                    hasSecond.SetResult();
            }));
        await run.SendAsync(2);
        await hasSecond.Task;                               // what is still in front of the broadcast is not for a branch that leaves
        await lease.DetachAsync();                          // what the branch has is processed
        #endregion

        Check.That(seen is [1, 2]);
    }

    private static async Task Route()
    {
        List<string> bad = [], seen = [];

        #region route
        Pipeline pipeline = Pipeline.From(["a", "", "bb"])
            .Route()
            .When(static text => text.Length == 0, branch => branch.ForEach(bad.Add))
            .When(static text => text.Length == 1, branch => branch.Transform(static text => $"short {text}"))
            .Otherwise(branch => branch)
            .ForEach(seen.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(bad.Count == 1 && seen.Count == 2);
    }

    private static async Task Merge()
    {
        List<int> seen = [];

        #region merge
        Pipeline pipeline = Pipeline
            .Merge(Pipeline.From([1, 3]), Pipeline.From([2, 4]))
            .ForEach(seen.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(seen.Order().SequenceEqual([1, 2, 3, 4]));
    }

    private static async Task Join()
    {
        List<(int Number, string Name)> seen = [];

        #region join
        Pipeline pipeline = Pipeline
            .Join(Pipeline.From([1, 2, 3]), Pipeline.From(["one", "two"]))
            .ForEach(seen.Add)
            .Build();
        #endregion

        PipelineReport report = await pipeline.Start().Completion;
        Check.That(seen.SequenceEqual([(1, "one"), (2, "two")]) && report.Stage("join").Discarded == 1);
    }

    private static async Task Take()
    {
        List<int> seen = [];

        #region take
        Pipeline pipeline = Pipeline.From(Enumerable.Range(0, int.MaxValue))
            .Take(3)
            .ForEach(seen.Add)
            .Build();
        #endregion

        PipelineReport report = await pipeline.Start().Completion;
        Check.That(seen.SequenceEqual([0, 1, 2]) && report.Stage("from").EndReason == EndReason.NoDemand);
    }

    private static async Task To()
    {
        List<int> seen = [];

        #region to
        Pipeline pipeline = Pipeline.From([1, 2, 3])
            .To(() => new ActionBlock<int>(seen.Add, new() { BoundedCapacity = 16 }), new() { Name = "write" })
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(seen.Count == 3);
    }

    private static async Task AsBlock()
    {
        List<string> seen = [];

        #region as-block
        var source = new BufferBlock<int>();
        IPropagatorBlock<int, string> pipeline = Pipeline.Accept<int>()
            .Transform(static x => $"<{x}>", new() { MaxDegreeOfParallelism = 4 })
            .AsBlock();
        var sink = new ActionBlock<string>(seen.Add);
        var propagate = new DataflowLinkOptions { PropagateCompletion = true };
        source.LinkTo(pipeline, propagate);
        pipeline.LinkTo(sink, propagate);
        #endregion

        source.Post(1);
        source.Post(2);
        source.Complete();
        await sink.Completion;
        Check.That(seen.SequenceEqual(["<1>", "<2>"]));
    }

    private static async Task ToAsyncEnumerable()
    {
        List<int> seen = [];

        #region to-async-enumerable
        IAsyncEnumerable<int> squares = Pipeline.From([1, 2, 3, 4])
            .Transform(static x => x * x)
            .ToAsyncEnumerable();
        await foreach (int square in squares)
        {
            if (square > 9)
                break; // the run takes no more input and ends
            seen.Add(square);
        }
        #endregion

        Check.That(seen.SequenceEqual([1, 4, 9]));
    }

    private static async Task AsObservable()
    {
        var observer = new Squares();

        #region as-observable
        IObservable<int> squares = Pipeline.From([1, 2, 3])
            .Transform(static x => x * x)
            .AsObservable();
        using IDisposable subscription = squares.Subscribe(observer);
        #endregion

        Check.That((await observer.Seen).SequenceEqual([1, 4, 9]));
    }

    private sealed class Squares : IObserver<int>
    {
        private readonly List<int> _seen = [];
        private readonly TaskCompletionSource<List<int>> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<List<int>> Seen => _ended.Task;

        public void OnNext(int value) => _seen.Add(value);

        public void OnCompleted() => _ended.SetResult(_seen);

        public void OnError(Exception error) => _ended.SetException(error);
    }

    private static async Task Of()
    {
        int beats = 0;
        var beaten = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void Beat()
        {
            beats++;
            beaten.TrySetResult();
        }

        #region of
        Pipeline pipeline = Pipeline
            .Of(() => new Heartbeat(Beat), new() { Name = "heartbeat", TickInterval = TimeSpan.FromMilliseconds(10) })
            .Build();
        await using PipelineRun run = pipeline.Start();
        #endregion

        await beaten.Task;
        run.Complete();
        await run.Completion;
        Check.That(beats > 0);
    }
}
