using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

/// <summary>The right overload binds for every way to write a stage: a task is awaited, a result has the type that one expects, a token arrives.</summary>
public sealed class OverloadTests : PipelineTest
{
    private Gate _entered = new();
    private Gate _release = new();

    private static PipelineBuilder<NoInput, string> S => Pipeline.From(["a,b", "c"]);

    [Fact]
    public async Task Transform_EveryKindOfDelegate_GivesItsResult()
    {
        int[] lengths = [3, 1];
        await AssertItems(S.Transform((p, ct) => VTaskCt(p, ct), new() { Name = "read" }), lengths);
        await AssertItems(S.Transform(async (x, ct) =>
        {
            await Task.Delay(1, ct);
            return x.Length;
        }), lengths);
        await AssertItems(S.Transform((x, ct) => TaskCt(x, ct)), lengths);
        await AssertItems(S.Transform(TaskCt), lengths);
        await AssertItems(S.Transform(VTaskCt), lengths);
        await AssertItems(S.Transform(async x => await TaskOf(x)), lengths);
        await AssertItems(S.Transform(VTaskOf), lengths);
        await AssertItems(S.Transform(TaskOf), lengths);
        await AssertItems(S.Transform((x, ct) => x.Length), lengths);
        await AssertItems(S.Transform(SyncCt), lengths);
        await AssertItems(S.Transform(x => x.Length), lengths);
        await AssertItems(Pipeline.From(["1", "2"]).Transform(int.Parse), [1, 2]);
        await AssertItems(Pipeline.From(["/x/1"]).Transform(Path.GetFileName), ["1"]);
        string file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, "ab\ncd", TestToken);
        await AssertItems(Pipeline.From([file]).Transform(File.ReadAllBytesAsync).Transform(b => b.Length), [5]);
        await AssertItems(Pipeline.From([file]).TransformMany(File.ReadLines), ["ab", "cd"]);
        await AssertItems(Pipeline.From([file]).TransformMany(File.ReadLinesAsync), ["ab", "cd"]);
        await AssertItems(Pipeline.From([file, file + ".none"]).Where(File.Exists), [file]);
        File.Delete(file);
    }

    [Fact]
    public async Task TransformMany_EveryKindOfDelegate_GivesItsItems()
    {
        string[] parts = ["a", "b", "c"];
        await AssertItems(S.TransformMany(Many), parts);
        await AssertItems(S.TransformMany(x => Many(x)), parts);
        await AssertItems(S.TransformMany((x, ct) => Many(x, ct)), parts);
        await AssertItems(S.TransformMany((x, ct) => x.Split(',')), parts);
        await AssertItems(S.TransformMany(x => x.Split(',')), parts);
        await AssertItems(S.Transform(async x => (await Task.FromResult(x)).Split(',')).TransformMany(x => x), parts);
        await AssertItems(S.TransformMany(x => new[] { x, x }), ["a,b", "a,b", "c", "c"]);
    }

    [Fact]
    public async Task Where_EveryKindOfDelegate_AsksIt()
    {
        await AssertItems(S.Where(x => x != "c"), ["a,b"]);
        await AssertItems(S.Where(async x =>
        {
            await Task.Yield();
            return x == "c";
        }), ["c"]);
        await AssertItems(S.Where(x => Task.FromResult(x == "c")), ["c"]);
        await AssertItems(S.Where(async (x, ct) =>
        {
            await Task.Delay(1, ct);
            return x == "c";
        }), ["c"]);
        await AssertItems(S.Where((x, ct) => Task.FromResult(ct.CanBeCanceled && x == "c")), ["c"]);
    }

    [Fact]
    public async Task ForEach_EveryKindOfAwaitable_IsAwaited()
    {
        await AssertAwaited(s => s.ForEach(async (x, ct) => await WaitAsync()));
        await AssertAwaited(s => s.ForEach((x, ct) => WaitTask(x, ct)));
        await AssertAwaited(s => s.ForEach((x, ct) => WaitVTaskOfInt(x, ct)));
        await AssertAwaited(s => s.ForEach(async x => await WaitAsync()));
        await AssertAwaited(s => s.ForEach(x => new ValueTask(WaitAsync())));
        await AssertAwaited(s => s.ForEach(WaitTaskOfInt));
        await AssertAwaited(s => s.ForEach(x => WaitVTaskOfInt(x)));
        await AssertAwaited(s => s.ForEach(WaitTask));
        await AssertAwaited(s => s.ForEach(WaitVTask));
    }

    [Fact]
    public async Task Tap_EveryKindOfAwaitable_IsAwaited()
    {
        await AssertAwaited(s => s.Tap(async (x, ct) => await WaitAsync()).ForEach(x => { }));
        await AssertAwaited(s => s.Tap((x, ct) => WaitTask(x, ct)).ForEach(x => { }));
        await AssertAwaited(s => s.Tap((x, ct) => WaitVTaskOfInt(x, ct)).ForEach(x => { }));
        await AssertAwaited(s => s.Tap(async x => await WaitAsync()).ForEach(x => { }));
        await AssertAwaited(s => s.Tap(x => new ValueTask(WaitAsync())).ForEach(x => { }));
        await AssertAwaited(s => s.Tap(WaitTaskOfInt).ForEach(x => { }));
        await AssertAwaited(s => s.Tap(x => WaitVTaskOfInt(x)).ForEach(x => { }));
    }

    [Fact]
    public async Task ForEachAndTap_SynchronousDelegates_SeeEveryItem()
    {
        ConcurrentQueue<string> seen = [];
        HashSet<string> set = [];
        await Run(S.ForEach(seen.Enqueue));
        await Run(S.ForEach(x => seen.Enqueue(x)));
        await Run(S.ForEach((x, ct) => seen.Enqueue(x)));
        await Run(S.ForEach((x, ct) => x.Length + Enqueue(x)));
        await Run(S.ForEach(x => set.Add(x)));
        await Run(S.ForEach(set.Add));
        await Run(S.Tap(seen.Enqueue).Tap(x => seen.Enqueue(x)).Tap((x, ct) => seen.Enqueue(x)).Tap(set.Add).Tap((x, ct) => Enqueue(x)).ForEach(x => { }));
        Assert.Equal(2 * 8, seen.Count);
        Assert.Equal(["a,b", "c"], set);

        int Enqueue(string x)
        {
            seen.Enqueue(x);
            return 1;
        }
    }

    [Fact]
    public async Task ForEach_MethodGroups_OfStreamsAndIndexes()
    {
        var stream = new MemoryStream();
        await Run(S.Transform(x => new ReadOnlyMemory<byte>([(byte)x.Length])).ForEach(stream.WriteAsync));
        Assert.Equal([3, 1], stream.ToArray());
        var index = new Index();
        await Run(S.Batch(100).ForEach(index.AddAsync));
        Assert.Equal(["a,b", "c"], index.Items);
    }

    [Fact]
    public async Task Sources_OfEveryKind_Emit()
    {
        var block = new BufferBlock<string>();
        block.Post("x");
        block.Complete();
        Channel<string> channel = Channel.CreateUnbounded<string>();
        channel.Writer.TryWrite("y");
        channel.Writer.Complete();
        await AssertItems(Pipeline.From(Many("a,b")), ["a", "b"]);
        await AssertItems(Pipeline.From([1, 2, 3]), [1, 2, 3]);
        await AssertItems(Pipeline.From(block), ["x"]);
        await AssertItems(Pipeline.From(channel.Reader), ["y"]);
        await AssertItems(Pipeline.From(new Src(new SrcOptions(1))), [1]);
        await AssertItems(Pipeline.From(static () => new Src(new SrcOptions(2)), new() { Name = "s" }), [2]);
        await AssertItems(Pipeline.From(static o => new Src(o), new SrcOptions(3), new() { Name = "s" }), [3]);
        await AssertItems(Pipeline.From(new Both()), ["async"]);
        await AssertItems(Pipeline.Merge(S, S, S), ["a,b", "a,b", "a,b", "c", "c", "c"], isOrdered: false);
        await AssertItems(S.Merge(S), ["a,b", "a,b", "c", "c"], isOrdered: false);
        await AssertItems(Pipeline.Join(S, Pipeline.From([1, 2])).Transform(x => x.First + x.Second), ["a,b1", "c2"]);
    }

    [Fact]
    public async Task Runnables_OfEveryKind_Run()
    {
        await AssertItems(S.Then(new Hasher(new HasherOptions("1"))), ["a,b1", "c1"]);
        await AssertItems(S.Then(static () => new Hasher(new HasherOptions("2")), new() { Name = "h" }), ["a,b2", "c2"]);
        await AssertItems(S.Then(static o => new Hasher(o), new HasherOptions("3"), new() { Name = "hash" }), ["a,b3", "c3"]);
        await AssertItems(S.PartitionBy(x => x).Then(static o => new Hasher(o), new HasherOptions("4"), new() { MaxDegreeOfParallelism = 4 }), ["a,b4", "c4"]);
        await AssertItems(S.Through(new TransformBlock<string, int>(x => x.Length)), [3, 1]);
        await AssertItems(S.Through(() => new TransformBlock<string, int>(x => x.Length)), [3, 1]);
        await AssertItems(S.Batch(10, maxAge: TimeSpan.FromHours(1)).Transform(x => x.Length), [2]);
        await AssertItems(S.Batch(3, weight: x => x.Length, options: new() { Name = "b" }).Transform(x => x.Length), [1, 1]);
        await AssertItems(S.Take(1), ["a,b"]);
        await AssertItems(Pipeline.From(new object[] { 1, "x", 2 }).OfType<string>(), ["x"]);
        await AssertItems(S.Route().When(x => x == "c", b => b.Transform(x => x + "!")).Otherwise(b => b), ["a,b", "c!"], isOrdered: false);
        await AssertItems(S.Route().When(x => x == "bad", b => b.ForEach(x => { })).When(x => x == "c", b => b.Transform(TaskOf)).Otherwise(b => b.Transform(x => x.Length)), [1, 3], isOrdered: false);
    }

    [Fact]
    public async Task Ends_OfEveryKind_Take()
    {
        ConcurrentQueue<object> taken = [];
        var action = new ActionBlock<object>(taken.Enqueue);
        Channel<string> channel = Channel.CreateUnbounded<string>();
        await Run(S.To(action));
        await Run(S.To(() => new ActionBlock<string>(taken.Enqueue)));
        await Run(S.To(channel.Writer));
        await Run(S.To(new Snk(taken)));
        await Run(S.To(() => new Snk(taken)));
        await Run(S.To(static o => new Snk(o), taken, new() { Name = "k" }));
        await Run(S.PartitionBy(x => x).To(static o => new Snk(o), taken, new() { MaxDegreeOfParallelism = 2 }));
        await Run(S.Broadcast(b => b.ForEach(taken.Enqueue), b => b.Named("audit").Optional().WhenFull(FullMode.DropOldest).Transform(x => x.Length).ForEach(async x => await Task.Yield())));
        await Run(S.Broadcast(new() { Name = "fan" }, b => b.ForEach(taken.Enqueue), Audit));
        await Run(S.Route(new() { Name = "r" }).When(x => x == "c", b => b.ForEach(taken.Enqueue)).Otherwise(b => b.To(new ActionBlock<string>(taken.Enqueue))));
        Assert.Equal(2 * 9, taken.Count);
        Assert.Equal(2, channel.Reader.Count);
    }

    [Fact]
    public async Task Endings_HaveTheTypeOfTheirBeginning()
    {
        Pipeline plain = S.ForEach(x => { }).Build(Options);
        Pipeline<int> accepting = Pipeline.Accept<int>().ForEach(x => { }).Build(Options);
        ITargetBlock<int> target = Pipeline.Accept<int>().ForEach(x => { }).AsBlock(Options);
        ISourceBlock<string> source = S.AsBlock(Options);
        IPropagatorBlock<int, string> both = Pipeline.Accept<int>().Transform(x => x.ToString()).AsBlock(Options);
        Assert.IsNotType<Pipeline<int>>(plain);
        await Watch(plain.Start()).Completion.Within();
        PipelineRun<int> run = Watch(accepting.Start());
        await run.SendAsync(5, TestToken);
        run.Complete();
        await run.Completion.Within();
        target.Complete();
        await target.Completion.Within();
        Assert.Equal("a,b", await source.ReceiveAsync(TestToken));
        Assert.Equal("c", await source.ReceiveAsync(TestToken));
        await source.Completion.Within();
        both.Post(7);
        both.Complete();
        Assert.Equal("7", await both.ReceiveAsync(TestToken));
        await both.Completion.Within();
        PipelineRun<int> joined = Start(Pipeline.Join(S, Pipeline.Accept<int>()).Take(2).ForEach(x => { }));
        Assert.True(joined.TrySend(1) && joined.TrySend(2));
        await joined.Completion.Within();
    }

    private async Task Run(PipelineEnd<NoInput> end) => await Start(end).Completion.Within();

    private async Task AssertItems<T>(PipelineBuilder<NoInput, T> builder, T[] expected, bool isOrdered = true)
    {
        List<T> items = [];
        await Run(builder.ForEach(items.Add));
        Assert.Equal(expected, isOrdered ? items : items.Order());
    }

    /// <summary>The run cannot end before the gate is open, unless the task was dropped.</summary>
    private async Task AssertAwaited(Func<PipelineBuilder<NoInput, string>, PipelineEnd<NoInput>> write)
    {
        (_entered, _release) = (new Gate(), new Gate());
        PipelineRun run = Watch(write(Pipeline.From(["x"])).Build(Options).Start());
        await run.Started.Within();
        await _entered.WaitAsync(TestToken);
        Assert.False(run.Completion.IsCompleted);
        Assert.Equal(0, run.Snapshot().Stages[1].Delivered);
        _release.Open();
        await run.Completion.Within();
    }

    private async Task WaitAsync()
    {
        _entered.Open();
        await _release.WaitAsync(TestToken);
    }

    private async Task WaitTask(string x, CancellationToken ct) => await WaitAsync();

    private async Task WaitTask(string x) => await WaitAsync();

    private async ValueTask WaitVTask(string x) => await WaitAsync();

    private async Task<int> WaitTaskOfInt(string x)
    {
        await WaitAsync();
        return 1;
    }

    private async ValueTask<int> WaitVTaskOfInt(string x, CancellationToken ct = default)
    {
        await WaitAsync();
        return 1;
    }

    private static async Task<int> TaskCt(string x, CancellationToken ct)
    {
        Assert.True(ct.CanBeCanceled);
        await Task.Yield();
        return x.Length;
    }

    private static async ValueTask<int> VTaskCt(string x, CancellationToken ct)
    {
        Assert.True(ct.CanBeCanceled);
        await Task.Yield();
        return x.Length;
    }

    private static Task<int> TaskOf(string x) => Task.FromResult(x.Length);

    private static ValueTask<int> VTaskOf(string x) => new(x.Length);

    private static int SyncCt(string x, CancellationToken ct) => ct.CanBeCanceled ? x.Length : -1;

    private static async IAsyncEnumerable<string> Many(string x, [EnumeratorCancellation] CancellationToken ct = default)
    {
        foreach (string part in x.Split(','))
        {
            await Task.Yield();
            yield return part;
        }
    }

    private static PipelineEnd<TIn> Audit<TIn>(PipelineBuilder<TIn, string> b) => b.Where(x => x != "").ForEach(x => { });

    private sealed class Index
    {
        public List<string> Items { get; } = [];

        public Task AddAsync(IReadOnlyList<string> items, CancellationToken ct = default)
        {
            Items.AddRange(items);
            return Task.CompletedTask;
        }

        public Task AddAsync(string item, CancellationToken ct = default)
        {
            Items.Add(item);
            return Task.CompletedTask;
        }
    }

    /// <summary>An enumerable that is also an asynchronous one, as those of Entity Framework are.</summary>
    private sealed class Both : IEnumerable<string>, IAsyncEnumerable<string>
    {
        public IEnumerator<string> GetEnumerator() => ((IEnumerable<string>)["sync"]).GetEnumerator();

        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();

        public IAsyncEnumerator<string> GetAsyncEnumerator(CancellationToken cancellationToken = default) => Many("async", cancellationToken).GetAsyncEnumerator(cancellationToken);
    }

    private sealed record SrcOptions(int Value);

    private sealed class Src(SrcOptions options) : SourceRunnable<int>
    {
        protected override ValueTask ProduceAsync(CancellationToken stopToken) => EmitAsync(options.Value, stopToken);
    }

    private sealed record HasherOptions(string Suffix);

    private sealed class Hasher(HasherOptions options) : Runnable<string, string>
    {
        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken) => EmitAsync(item + options.Suffix, cancellationToken);
    }

    private sealed class Snk(ConcurrentQueue<object> taken) : SinkRunnable<string>
    {
        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
        {
            taken.Enqueue(item);
            return default;
        }
    }
}
