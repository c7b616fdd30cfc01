using System.Collections.Concurrent;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

public sealed class ThenTests : PipelineTest
{
    [Fact] // S20
    public async Task Pool_HasDistinctInstances_EachOneStream()
    {
        ConcurrentBag<Counter> made = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 400)).Then(() =>
        {
            var counter = new Counter();
            made.Add(counter);
            return counter;
        }, new() { Name = "pool", MaxDegreeOfParallelism = 4 }).ForEach(static _ => { }));

        await run.Completion.Within();

        Assert.Equal(4, made.Count);
        Assert.Equal([0, 1, 2, 3], made.Select(static c => c.Index).Order());
        Assert.Equal(400, made.Sum(static c => c.Handled));
        Assert.All(made, static c => Assert.Equal((false, 1, 1), (c.WasConcurrent, c.Starts, c.Ends)));
    }

    [Theory] // S18
    [InlineData(true)]
    [InlineData(false)]
    public async Task PartitionBy_KeepsAKeyOnOneInstanceAndInOrder(bool ordered)
    {
        List<(int Item, int Instance)> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 1000)).PartitionBy(static x => x % 7)
            .Then(static () => new Tagger(), new() { MaxDegreeOfParallelism = 3, EnsureOrdered = ordered }).ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(1000, seen.Count);
        foreach (IGrouping<int, (int Item, int Instance)> key in seen.GroupBy(static s => s.Item % 7))
        {
            Assert.Single(key.Select(static s => s.Instance).Distinct());
            Assert.Equal(key.Select(static s => s.Item).Order(), key.Select(static s => s.Item));
        }

        if (ordered)
            Assert.Equal(Enumerable.Range(0, 1000), seen.Select(static s => s.Item));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task OwnThread_RunsEveryCallbackOfAnInstanceOnOneBackgroundThread(int parallelism)
    {
        ConcurrentBag<Bound> made = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 50)).Then(() =>
        {
            var bound = new Bound();
            made.Add(bound);
            return bound;
        }, new() { Name = "bound", OwnThread = true, TickInterval = TimeSpan.FromMilliseconds(1), MaxDegreeOfParallelism = parallelism }).ForEach(static _ => { }));

        await run.Completion.Within();

        Assert.Equal(parallelism, made.Count);
        foreach (Bound bound in made)
        {
            Thread thread = Assert.Single(bound.Threads.Distinct());
            Assert.True(bound.WasBound);
            Assert.Equal("bound", thread.Name);
        }

        Assert.Equal(parallelism, made.SelectMany(static b => b.Threads).Distinct().Count());
    }

    [Fact]
    public async Task Part_UsedTwice_JoinsTheOuterGraphUnderItsNames()
    {
        PipelinePart<int, int> part = Pipeline.Accept<int>().Transform(static x => x + 1, new() { Name = "add" }).Where(static x => x % 2 == 0, new() { Name = "even" }).AsPart();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 8)).Through(part, "a").Through(part, "b").Transform(static x => x).ForEach(seen.Add));
        PipelineEnd<NoInput> twice = Pipeline.From([1]).Through(part).Through(part).ForEach(static _ => { });

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(["from", "a/add", "a/even", "b/add", "b/even", "transform", "for-each"], report.Stages.Select(static s => s.Name));
        Assert.Empty(seen);
        Assert.Equal((8, 4), (report.Stage("a/even").Accepted, report.Stage("b/even").Accepted));
        Assert.Contains("'add'", Assert.Throws<PipelineBuildException>(() => twice.Build()).Message, StringComparison.Ordinal);
    }

    [Fact] // S8
    public async Task Report_IsATableForPeople()
    {
        PipelineRun run = Start(Pipeline.From([1, 2, 3]).Transform(static x => x == 2 ? throw new FormatException() : x, new() { Name = "parse", ErrorPolicy = ErrorPolicy.Skip }).ForEach(static _ => { }));

        PipelineReport report = await run.Completion.Within();

        string[] lines = report.ToString().Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(5, lines.Length);
        Assert.StartsWith("Completed after ", lines[0], StringComparison.Ordinal);
        Assert.Equal(["parse", "Completed", "3", "2", "1", "0", "0", "0", "0", "2", "0"], lines[3].Split(' ', StringSplitOptions.RemoveEmptyEntries)[..11]);
        Assert.Null(report.Cause);
        Assert.Empty(report.SecondaryErrors);
        Assert.Empty(report.Abandoned);
    }

    private sealed class Counter : Runnable<int, int>
    {
        private int _running;

        public int Index { get; private set; }

        public int Handled { get; private set; }

        public int Starts { get; private set; }

        public int Ends { get; private set; }

        public bool WasConcurrent { get; private set; }

        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            (Index, Starts) = (Context.Instance, Starts + 1);
            return default;
        }

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            WasConcurrent |= Interlocked.Increment(ref _running) != 1;
            await Task.Yield();
            Handled++;
            await EmitAsync(item, cancellationToken);
            Interlocked.Decrement(ref _running);
        }

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
        {
            Ends++;
            return default;
        }
    }

    private sealed class Tagger : Runnable<int, (int Item, int Instance)>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await Task.Yield();
            await EmitAsync((item, Context.Instance), cancellationToken);
        }
    }

    private sealed class Bound : Runnable<int, int>
    {
        public Bound() => Note();

        public ConcurrentQueue<Thread> Threads { get; } = [];

        public bool WasBound { get; private set; } = true;

        protected override ValueTask OnStartAsync(CancellationToken cancellationToken) => NoteAsync();

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await NoteAsync();
            await EmitAsync(item, cancellationToken);
            Note();
        }

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => NoteAsync();

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => NoteAsync();

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause) => NoteAsync();

        private async ValueTask NoteAsync()
        {
            Note();
            await Task.Yield();
            Note();
        }

        // Asked on the thread itself: one that has ended cannot be asked.
        private void Note()
        {
            WasBound &= Thread.CurrentThread is { IsBackground: true, IsThreadPoolThread: false };
            Threads.Enqueue(Thread.CurrentThread);
        }
    }
}
