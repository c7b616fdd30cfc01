using System.Threading.Tasks.Dataflow;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Contracts;

/// <summary>Every kind of user code, in any placement. A placement adds a subclass that names itself.</summary>
public abstract class KindContract : PipelineTest
{
    /// <summary>Where the stages under test live.</summary>
    protected abstract Placement Placement { get; }

    private StageOptions Here => new() { Name = "work", Placement = Placement };

    [Fact]
    public async Task Source_EmitsAll()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(static o => new Counting(o), new CountingOptions(1000), Here).ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 1000), seen);
        Assert.Equal(1000, report.Stage("work").Emitted);
    }

    [Fact] // what user code has emitted does not wait for what it does next
    public async Task Emits_LeaveAtOnce_WhileTheHandlerWaits()
    {
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Then(static () => new EmitsAndWaits(), Here).ForEach(seen.Add));
        await run.SendAsync(1, TestToken);

        await Waiting.UntilAsync(() => seen.Count == 3, "all three have arrived, the last two from behind a wait");

        run.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        ExpectFailure();
    }

    [Fact]
    public async Task SourceEmits_LeaveAtOnce_WhileTheBodyWaits()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(static () => new EmitsOnceAndWaits(), Here).ForEach(seen.Add));

        await Waiting.UntilAsync(() => seen.Count == 1, "the first one has arrived");

        run.Complete();
        await run.Completion.Within();
    }

    [Fact] // S9, S25
    public async Task Source_EndlessOne_EndsByComplete()
    {
        int seen = 0;
        PipelineRun run = Start(Pipeline.From(static o => new Counting(o), new CountingOptions(int.MaxValue), Here).ForEach(_ => Interlocked.Increment(ref seen)));
        await Waiting.UntilAsync(() => Volatile.Read(ref seen) > 500, "items arrive");

        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(report.Stage("work").Emitted, seen);
    }

    [Fact]
    public async Task Sink_SeesAll()
    {
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 100)).To(static () => new Checking(), Here));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(100, report.Stage("work").Delivered);
    }

    [Fact] // S41
    public async Task Command_RunsItsTicks_AndEndsByComplete()
    {
        PipelineRun run = Start(Pipeline.Of(static () => new Ticking(), Here with { TickInterval = TimeSpan.FromMilliseconds(1) }));
        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.Message.Contains("third tick", StringComparison.Ordinal)), "it has ticked three times");

        run.Complete();
        await run.Completion.Within();

        Assert.Contains(Log.Records, static r => r.Message.Contains("completed", StringComparison.Ordinal));
    }

    [Fact] // S10
    public async Task Ports_EveryInputAndOutput_IsConnected()
    {
        List<string> pairs = [];
        List<int> sums = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 300))
            .Into(static () => new TwoWays(), static r => r.Numbers, Here)
            .From(static r => r.Words, Pipeline.From(["a", "b", "c"]))
            .Branch(static r => r.Sums, b => b.ForEach(sums.Add))
            .Continue(static r => r.Texts)
            .ForEach(pairs.Add));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 300).Select(static x => x * 2), sums);
        Assert.Equal(["a", "b", "c", "words ended", "all ended"], pairs);
    }

    [Fact] // S13, S30: what a live output took is delivered
    public async Task Ports_AFinishedOutput_LeavesTheItemsOfTheOthersDelivered()
    {
        List<int> sums = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 300))
            .Into(static () => new Both(), static r => r.Numbers, Here)
            .Branch(static r => r.Firsts, static b => b.Take(1).ForEach(static _ => { }))
            .Continue(static r => r.All)
            .ForEach(sums.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 300), sums);
        Assert.Equal((300, 0), (report.Stage("work").Delivered, report.Stage("work").Discarded));
    }

    [Fact] // S13, S10
    public async Task Ports_FanInAny_EndsWithTheFirstInput_WhileTheOtherFlows()
    {
        List<string> texts = [];
        PipelineRun run = Start(Pipeline.From(Endless())
            .Into(static () => new TwoWays(), static r => r.Numbers, Here with { FanIn = FanIn.Any })
            .From(static r => r.Words, Pipeline.From(["a", "b"]))
            .Branch(static r => r.Sums, static b => b.ForEach(static _ => { }))
            .Continue(static r => r.Texts)
            .ForEach(texts.Add));

        await run.Completion.Within();

        Assert.Equal(["a", "b", "words ended", "all ended"], texts);
    }

    private static IEnumerable<int> Endless()
    {
        for (int i = 0; ; i++)
            yield return i;
    }

    [Fact] // S9, S20: a body that never began is told of the end like any other
    public async Task Source_StoppedBeforeAllStagesRun_EndsWithoutABeginning()
    {
        var gate = new Gate();
        PipelineRun run = Start(Pipeline.From(static () => new TellsItsEnd(), Here)
            .Then(() => new StartsLate(gate))
            .ForEach(static _ => Assert.Fail("It never began.")));

        run.Complete();
        gate.Open();
        PipelineReport report = await run.Completion.Within();

        Assert.Empty(report.SecondaryErrors);
        Assert.Equal(["ended Completed"], Log.Records.Select(static r => r.Message).Where(static m => m.StartsWith("ended", StringComparison.Ordinal) || m == "began"));
    }

    [Fact] // S15: our own stop has fired
    public async Task Source_WhoseCompletionIsCanceledByTheStop_Ends()
    {
        int seen = 0;
        PipelineRun run = Start(Pipeline.From(static () => new CompletesWithCancellation(), Here).ForEach(_ => Interlocked.Increment(ref seen)));
        await Waiting.UntilAsync(() => Volatile.Read(ref seen) == 1, "the source runs");

        run.Complete();

        await run.Completion.Within();
    }

    [Fact] // S46
    public async Task ForeignBlock_MadeByAFactory_PassesEverything()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 1000))
            .Through(static () => new TransformBlock<int, int>(static x => x + 1, new() { BoundedCapacity = 4 }), Here)
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(2, 1000), seen);
    }

    [Fact] // S46
    public async Task ForeignBlock_ThatFaults_FaultsTheRun()
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 1000))
            .Through(static () => new TransformBlock<int, int>(static x => x == 500 ? throw new FormatException("block") : x, new() { BoundedCapacity = 4 }), Here)
            .ForEach(static _ => { }));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Equal("work", fault.Stage);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task PartitionBy_AKey_GoesToOneInstance_InOrder(int parallelism)
    {
        List<(int Key, int Item, int Instance)> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 300))
            .PartitionBy(static x => x % 7)
            .Then(static () => new Naming(), Here with { MaxDegreeOfParallelism = parallelism })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(300, seen.Count);
        Assert.All(seen.GroupBy(static s => s.Key), static key => Assert.Single(key.Select(static s => s.Instance).Distinct()));
        Assert.All(seen.GroupBy(static s => s.Key), static key => Assert.Equal(key.Select(static s => s.Item).Order(), key.Select(static s => s.Item)));
    }

    [Fact]
    public async Task OwnThread_RunsEveryCallbackOnOneThread()
    {
        List<int> threads = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 50)).Transform(static _ => Environment.CurrentManagedThreadId, Here with { OwnThread = true }).ForEach(threads.Add));

        await run.Completion.Within();

        Assert.Single(threads.Distinct());
    }

    [Fact]
    public async Task EveryDelegateKind_Runs()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 20))
            .Where(static x => x % 2 == 0, new() { Placement = Placement })
            .TransformMany(static x => new[] { x, x + 1 }, new() { Placement = Placement })
            .TransformMany(static (x, ct) => TwiceAsync(x, ct), new() { Placement = Placement })
            .Tap(static _ => { }, new() { Placement = Placement })
            .Transform(static async (int x, CancellationToken ct) =>
            {
                await Task.Yield();
                return x;
            }, new() { Placement = Placement })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(0, 20).SelectMany(static x => new[] { x, x }), seen);
    }

    [Fact] // the level and the formatter travel as those of any stage
    public async Task LogItems_LogsInTheCategoryOfTheStage_WhereverItRuns()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([7, 8]).LogItems(LogLevel.Information, static x => $"<{x}>", Here).ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal([7, 8], seen);
        Assert.Equal(["Item 1: <7>", "Item 2: <8>"], Log.Records.Where(static r => r is { Category: "Runnables.pipeline.work", Level: LogLevel.Information }).Select(static r => r.Message));
    }

    private static async IAsyncEnumerable<int> TwiceAsync(int x, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        yield return x;
        await Task.Yield();
        yield return x;
    }

    public sealed record CountingOptions(int Count);

    private sealed class EmitsAndWaits : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await EmitAsync(1, cancellationToken);
            await Task.Yield();
            await EmitAsync(2, cancellationToken);
            await EmitAsync(3, cancellationToken);
            await Task.Delay(Timeout.Infinite, cancellationToken);
        }
    }

    private sealed class EmitsOnceAndWaits : SourceRunnable<int>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            await EmitAsync(1, stopToken);
            await Task.Delay(Timeout.Infinite, stopToken);
        }
    }

    private sealed class Counting(CountingOptions options) : SourceRunnable<int>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            for (int i = 1; i <= options.Count && !stopToken.IsCancellationRequested; i++)
                await EmitAsync(i, CancellationToken.None);
        }
    }

    private sealed class Checking : SinkRunnable<int>
    {
        private int _last;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) =>
            item == ++_last ? default : throw new InvalidOperationException($"{item} came instead of {_last}.");
    }

    private sealed class Ticking : CommandRunnable
    {
        private int _ticks;

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
        {
            if (++_ticks == 3)
                Tell("third tick");
            return default;
        }

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken)
        {
            Tell("completed");
            return default;
        }

        private void Tell(string text) => Context.Logger.Log(Microsoft.Extensions.Logging.LogLevel.Information, default, text, null, static (t, _) => t);
    }

    public sealed class TwoWays : PortRunnable
    {
        public TwoWays()
        {
            Numbers = new(async (x, ct) => await Sums.EmitAsync(x * 2, ct));
            Words = new(async (x, ct) => await Texts.EmitAsync(x, ct), async ct => await Texts.EmitAsync("words ended", ct));
        }

        public Input<int> Numbers { get; }

        public Input<string> Words { get; }

        public Output<int> Sums { get; } = new();

        public Output<string> Texts { get; } = new();

        protected override async ValueTask OnCompletedAsync(CancellationToken cancellationToken) => await Texts.EmitAsync("all ended", cancellationToken);
    }

    public sealed class Both : PortRunnable
    {
        public Both() => Numbers = new(async (x, ct) =>
        {
            await Firsts.EmitAsync(x, ct);
            await All.EmitAsync(x, ct);
        });

        public Input<int> Numbers { get; }

        public Output<int> Firsts { get; } = new();

        public Output<int> All { get; } = new();
    }

    private sealed class TellsItsEnd : SourceRunnable<int>
    {
        protected override ValueTask ProduceAsync(CancellationToken stopToken)
        {
            Tell("began");
            return EmitAsync(1, stopToken);
        }

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
        {
            Tell($"ended {outcome}");
            return default;
        }

        private void Tell(string text) => Context.Logger.Log(Microsoft.Extensions.Logging.LogLevel.Information, default, text, null, static (t, _) => t);
    }

    private sealed class StartsLate(Gate gate) : Runnable<int, int>
    {
        protected override async ValueTask OnStartAsync(CancellationToken cancellationToken) => await gate.WaitAsync(cancellationToken);

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);
    }

    private sealed class CompletesWithCancellation : SourceRunnable<int>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            await EmitAsync(1, stopToken);
            await Task.Delay(Timeout.Infinite, stopToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => throw new TaskCanceledException("too late for the last call");
    }

    private sealed class Naming : Runnable<int, (int Key, int Item, int Instance)>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync((item % 7, item, Context.Instance), cancellationToken);
    }
}

/// <inheritdoc/>
public sealed class InProcessKindTests : KindContract
{
    protected override Placement Placement => Placement.InProcess;
}

/// <inheritdoc/>
public sealed class LoopbackKindTests : KindContract
{
    protected override Placement Placement => Placement.Loopback;
}

/// <inheritdoc/>
public sealed class ChildProcessKindTests : KindContract
{
    protected override Placement Placement => Placement.ChildProcess;
}
