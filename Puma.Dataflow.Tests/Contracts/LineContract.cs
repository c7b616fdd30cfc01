using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Contracts;

/// <summary>Sources, forwarders and consumers in a line, as programs wire them. A placement adds a subclass that names itself.</summary>
public abstract class LineContract : PipelineTest
{
    /// <summary>Where the stages under test live.</summary>
    protected abstract Placement Placement { get; }

    private bool IsCarried => Placement is not InProcessPlacement;

    private StageOptions Here(string name, int capacity = 4) => new() { Name = name, Placement = Placement, BoundedCapacity = capacity };

    private static StageOptions Sink => new() { Name = "sink", BoundedCapacity = 4 };

    [Theory] // S34, Puma 43, 44, 82, 130, 131
    [InlineData(true)]
    [InlineData(false)]
    public async Task UnequalPaces_LoseAndReorderNothing(bool isSourceSlow)
    {
        const int Items = 60;
        List<int> seen = [];
        PipelineRun? run = null;
        var started = new Gate();
        run = Start(Pipeline.From(SourceAsync()).Transform(static x => x, Here("work")).ForEach(SinkAsync, Sink));
        started.Open();

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, Items), seen);

        // One source sends an item when the last one has arrived; one sink takes an item when there is no room for another.
        async IAsyncEnumerable<int> SourceAsync()
        {
            for (int i = 0; i < Items; i++)
            {
                if (isSourceSlow)
                    await Waiting.UntilAsync(() => Volatile.Read(ref seen).Count == i, "the last item has arrived");
                yield return i;
            }
        }

        async ValueTask SinkAsync(int item)
        {
            await started.WaitAsync();
            int rest = Math.Min(4, Items - seen.Count);
            if (!isSourceSlow)
                await Waiting.UntilAsync(() => run!.Snapshot().Stage("sink").SlotsHeld == rest, "the sink's input is full");
            seen.Add(item);
        }
    }

    [Fact] // S34, Puma 3
    public async Task AFullLine_ReadAndFilledAgain_TakesAsMuchAsBefore()
    {
        var gates = Channel.CreateUnbounded<int>();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Transform(static x => x, Here("work")).ForEach(
            async x =>
            {
                await gates.Reader.ReadAsync(TestToken);
                seen.Add(x);
            },
            Sink));
        for (int round = 0; round < 3; round++)
        {
            for (int i = 0; i < 8; i++)
                await run.SendAsync((8 * round) + i, TestToken).AsTask().Within();
            await UntilFullAsync(run);
            Assert.False(run.TrySend(-1));
            for (int i = 0; i < 8; i++)
                gates.Writer.TryWrite(i);
            await Waiting.UntilAsync(() => run.Snapshot().Stage("sink").SlotsHeld + run.Snapshot().Stage("work").SlotsHeld == 0, "all is read");
        }

        run.Complete();
        await run.Completion.Within();
        Assert.Equal(Enumerable.Range(0, 24), seen);
    }

    [Fact] // S34, Puma G22
    public async Task AChain_HoldsNoMoreThanItsCapacities()
    {
        int read = 0;
        var gate = new Gate();
        int seen = 0;
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 1000).Select(x => Interlocked.Increment(ref read)))
            .Transform(static x => x, Here("first"))
            .Transform(static x => x, Here("second"))
            .Transform(static x => x, Here("third"))
            .ForEach(async _ =>
            {
                await gate.WaitAsync();
                seen++;
            }, Sink));
        await UntilFullAsync(run);

        // What every link holds, and the one item in the hand of the source, which waits with it for good.
        const int Most = (4 * 4) + 1;
        await Waiting.UntilAsync(() => Volatile.Read(ref read) >= Most && run.Snapshot().Stage("from").Activity == StageActivity.WaitingForOutput, "every link is full and the source waits");
        Assert.Equal(Most, Volatile.Read(ref read));
        gate.Open();
        await run.Completion.Within();
        Assert.Equal(1000, seen);
    }

    [Fact] // S29, S30, Puma 49, 51, 53, 54: nothing is discarded because time goes by
    public async Task WhatIsNotRead_IsKept_HoweverLong()
    {
        var gate = new Gate();
        List<int> seen = [];
        PipelineRun run = Start(
            Pipeline.From(Enumerable.Range(0, 30)).Transform(static x => x, Here("work")).ForEach(
                async x =>
                {
                    await gate.WaitAsync();
                    seen.Add(x);
                },
                Sink),
            FakeTimeOptions with { StallTimeout = Timeout.InfiniteTimeSpan });
        await UntilFullAsync(run);
        Time.Advance(TimeSpan.FromHours(1));
        Assert.Equal((RunState.Running, 4), (run.State, run.Snapshot().Stage("sink").SlotsHeld));
        gate.Open();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, 30), seen);
        Assert.All(report.Stages, static s => Assert.Equal(0, s.Discarded));
    }

    [Fact] // S45, S34, Puma 8, 45
    public async Task AReaderThatComesAndGoes_WhileASenderWaits_GetsEverythingInOrder()
    {
        IPropagatorBlock<int, int> block = Pipeline.Accept<int>().Transform(static x => x, Here("work", 2)).AsBlock(Options);
        Task sending = Task.Run(async () =>
        {
            for (int i = 0; i < 300; i++)
                Assert.True(await block.SendAsync(i, TestToken));
            block.Complete();
        });
        List<int> seen = [];
        while (seen.Count < 300)
        {
            var reader = new BufferBlock<int>();
            using IDisposable link = block.LinkTo(reader, new() { MaxMessages = 5 });
            for (int i = 0; i < 5; i++)
                seen.Add(await reader.ReceiveAsync(TestToken).Within());
        }

        await sending.Within();
        await block.Completion.Within();
        Assert.Equal(Enumerable.Range(0, 300), seen);
    }

    [Fact] // S10, Puma 46
    public async Task TenSources_EveryNumberArrivesTenTimes_EachSourcesInOrder()
    {
        List<(int Source, int Number)> seen = [];
        PipelineBuilder<NoInput, (int, int)>[] sources = [.. Enumerable.Range(0, 10).Select(i => Pipeline.From(static o => new Numbers(o), (i, 30), Here($"source {i}")))];
        PipelineRun run = Start(sources[0].Merge(sources.AsSpan(1)).ForEach(seen.Add, Sink));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(300, report.Stage("sink").Delivered);
        for (int source = 0; source < 10; source++)
            Assert.Equal(Enumerable.Range(0, 30), seen.Where(s => s.Source == source).Select(static s => s.Number));
    }

    [Theory] // S13, Puma 55, 125, 126
    [InlineData(1)]
    [InlineData(1_000_000)]
    public async Task AConsumerThatStops_EndsASourceThatWorksFlatOut(int size)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(static o => new Blocks(o), size, Here("source")).Take(30, new() { Name = "take", BoundedCapacity = 4 }).ForEach(block => seen.Add(block.Length), Sink));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Repeat(size, 30), seen);
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("source").State, report.Stage("source").EndReason));
    }

    [Theory] // S21, S23, Puma 56, 83
    [InlineData(1)]
    [InlineData(1_000_000)]
    public async Task ACancel_WithItemsThatNobodyReads_EndsEverything(int size)
    {
        ExpectFailure();
        var gate = new Gate();
        PipelineRun run = Start(Pipeline.From(static o => new Blocks(o), size, Here("source")).Transform(static x => x, Here("work")).ForEach(async (_, ct) => await gate.WaitAsync(ct), Sink));
        await UntilFullAsync(run);

        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        PipelineReport report = await run.Report;
        Assert.Equal(RunState.Canceled, report.State);
        Assert.Empty(report.Abandoned);
    }

    [Fact] // S47, Puma 57, 68
    public async Task OneSource_TwoConsumers_EachGetsEverything_AndTheEndOnce()
    {
        List<int> first = [], second = [];
        PipelineRun run = Start(Pipeline.From(static o => new Numbers(o), (0, 30), Here("source")).Broadcast(
            b => b.Transform(static x => x.Number, Here("first")).ForEach(first.Add),
            b => b.Transform(static x => -x.Number, Here("second")).ForEach(second.Add)));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, 30), first);
        Assert.Equal(Enumerable.Range(0, 30).Select(static x => -x), second);
        Assert.All(report.Stages, static s => Assert.Equal(StageState.Completed, s.State));
        Assert.Empty(report.SecondaryErrors);
    }

    [Fact] // S17, S47, Puma 60, 67, 128
    public async Task AFailureBeforeABroadcast_ReachesBothBranches_BehindTheValues()
    {
        ExpectFailure();
        Channel<int> first = Channel.CreateUnbounded<int>(), second = Channel.CreateUnbounded<int>();
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Transform(static x => x == 3 ? throw new FormatException("no 3") : x, Here("work"))
            .Broadcast(b => b.To(first.Writer), b => b.To(second.Writer)));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        foreach (Channel<int> output in (Channel<int>[])[first, second])
        {
            Assert.Equal([1, 2], Drain(output.Reader));
            Assert.Same(fault, await Assert.ThrowsAsync<StageFaultedException>(() => output.Reader.Completion.Within()));
        }
    }

    [Fact] // S9, S22, Puma 59
    public async Task AStop_GivesBothBranchesWhatWasAccepted_AndACleanEnd()
    {
        Channel<int> first = Channel.CreateUnbounded<int>(), second = Channel.CreateUnbounded<int>();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Transform(static x => x, Here("work")).Broadcast(b => b.To(first.Writer), b => b.To(second.Writer)));
        for (int i = 1; i <= 5; i++)
            await run.SendAsync(i, TestToken).AsTask().Within();

        Task<PipelineReport> stopping = run.StopAsync(TimeSpan.FromSeconds(30));

        await Assert.ThrowsAsync<PipelineClosedException>(() => run.SendAsync(6, TestToken).AsTask().Within());
        Assert.Equal(RunState.Completed, (await stopping.Within()).State);
        foreach (Channel<int> output in (Channel<int>[])[first, second])
        {
            Assert.Equal([1, 2, 3, 4, 5], Drain(output.Reader));
            await output.Reader.Completion.Within();
        }
    }

    [Fact] // S30, Puma 37
    public async Task EmptyValues_AreValuesLikeOthers()
    {
        List<string> texts = [];
        List<int[]> arrays = [];
        await Start(Pipeline.From(["", "a", "", " "]).Transform(static x => x, Here("texts")).ForEach(texts.Add)).Completion.Within();
        await Start(Pipeline.From([[], [0], Array.Empty<int>()]).Transform(static x => x, Here("arrays")).ForEach(arrays.Add)).Completion.Within();

        Assert.Equal(["", "a", "", " "], texts);
        Assert.Equal([[], [0], []], arrays);
    }

    [Fact] // S6, S43, Puma 108, 111
    public async Task ABodyThatEndsAtOnce_HasRun_AndWhatIsAskedOfItAfterwardsIsHarmless()
    {
        PipelineRun run = Start(Pipeline.From(static o => new Numbers(o), (0, 0), Here("source")).ForEach(static _ => { }, Sink));

        await run.Started.Within();
        await run.Completion.Within();
        run.Complete();
        run.Cancel();
        run.Fault(new FormatException("too late"));
        await run.StopAsync(TimeSpan.Zero).Within();
        await run.DisposeAsync().AsTask().Within();

        Assert.Equal(RunState.Completed, run.State);
        Assert.Equal(StageState.Completed, run.Stage("source").Status.Latest<StageState>()!.Value);
    }

    [Fact] // S48, Puma 148, 150, 151
    public async Task State_IsMadeWhereTheRunnableLives_FromItsOptions_AnewForEachRun()
    {
        List<string> seen = [];
        var settings = new Settings("x", [1]);
        Pipeline pipeline = Pipeline.From(["a", "b"]).Then(static o => new Remembering(o), settings, Here("work")).ForEach(seen.Add).Build(Options);

        await Watch(pipeline.Start()).Completion.Within();
        await Watch(pipeline.Start()).Completion.Within();

        // In process the options are the same object, so what the runnable does to it stays; elsewhere each run has its own copy.
        Assert.Equal(IsCarried ? ["x1 a 1", "x2 b 2", "x1 a 1", "x2 b 2"] : ["x1 a 1", "x2 b 2", "x3 a 1", "x4 b 2"], seen);
        Assert.Equal(IsCarried ? 1 : 5, settings.Numbers.Count);
    }

    private static List<int> Drain(ChannelReader<int> reader)
    {
        List<int> items = [];
        while (reader.TryRead(out int item))
            items.Add(item);
        return items;
    }

    /// <summary>Waits until every slot is taken, and stays so: looked at from the last stage, which is held, to the first.</summary>
    private static Task UntilFullAsync(PipelineRun run)
    {
        string[] fromTheLast = [.. run.Snapshot().Stages.Select(static s => s.Name).Reverse()];
        return Waiting.UntilAsync(() => fromTheLast.All(name => run.Snapshot().Stage(name) is var s && s.SlotsHeld == s.Capacity), "all links are full");
    }

    public sealed record Settings(string Name, List<int> Numbers);

    private sealed class Remembering(Settings settings) : Runnable<string, string>
    {
        private int _items;

        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
        {
            string text = $"{settings.Name}{settings.Numbers.Count} {item} {++_items}";
            settings.Numbers.Add(0);
            return EmitAsync(text, cancellationToken);
        }
    }

    private sealed class Numbers((int Source, int Count) options) : SourceRunnable<(int Source, int Number)>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            for (int i = 0; i < options.Count; i++)
                await EmitAsync((options.Source, i), stopToken);
        }
    }

    private sealed class Blocks(int size) : SourceRunnable<byte[]>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            while (!stopToken.IsCancellationRequested)
                await EmitAsync(new byte[size], stopToken);
        }
    }
}

/// <inheritdoc/>
public sealed class InProcessLineTests : LineContract
{
    protected override Placement Placement => Placement.InProcess;
}

/// <inheritdoc/>
public sealed class LoopbackLineTests : LineContract
{
    protected override Placement Placement => Placement.Loopback;
}

/// <inheritdoc/>
public sealed class ChildProcessLineTests : LineContract
{
    protected override Placement Placement => Placement.ChildProcess;
}
