using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Contracts;

/// <summary>How a runnable of any placement starts, completes and ends. A placement adds a subclass that names itself.</summary>
public abstract class LifecycleContract : LifecycleTest
{
    /// <summary>Where the stages under test live.</summary>
    protected abstract Placement Placement { get; }

    private StageOptions Work => new() { Name = "work", Placement = Placement };

    [Theory] // S14, Puma 109
    [InlineData(1)]
    [InlineData(3)]
    public async Task OnStartThrows_StartedAndCompletionTellIt_AndNothingIsRead(int parallelism)
    {
        ExpectFailure();
        int read = 0;
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 1000).Select(x => Interlocked.Increment(ref read)))
            .Then(static o => new Scripted(o), Script.ThrowOnStart, Work with { MaxDegreeOfParallelism = parallelism })
            .ForEach(static _ => { }, new() { Name = "sink" }));

        StageFaultedException atStart = await Assert.ThrowsAsync<StageFaultedException>(() => run.Started.Within());
        StageFaultedException atEnd = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Same(atStart, atEnd);
        Assert.Equal(("work", null, "start"), (atEnd.Stage, atEnd.ItemNumber, atEnd.InnerException!.Message));
        Assert.Equal(0, read);
        AssertCounts(await run.Report, "work", accepted: 0);
    }

    [Theory] // S14
    [InlineData(1)]
    [InlineData(3)]
    public async Task TheFactoryThrows_StartedAndCompletionTellIt(int parallelism)
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Then(static o => new Scripted(o), Script.ThrowInFactory, Work with { MaxDegreeOfParallelism = parallelism })
            .ForEach(static _ => { }));

        Assert.Equal("factory", (await Assert.ThrowsAsync<StageFaultedException>(() => run.Started.Within())).InnerException!.Message);
        Assert.Equal("work", (await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within())).Stage);
    }

    [Theory] // S14, S17
    [InlineData(1)]
    [InlineData(3)]
    public async Task OnCompletedThrows_FaultsTheRun_AfterAllItems(int parallelism)
    {
        ExpectFailure();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Then(static o => new Scripted(o), Script.ThrowOnCompleted, Work with { MaxDegreeOfParallelism = parallelism })
            .ForEach(seen.Add, new() { Name = "sink" }));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("work", "completed"), (fault.Stage, fault.InnerException!.Message));
        Assert.Equal([1, 2, 3], seen);
        PipelineReport report = await run.Report;
        AssertCounts(report, "work", accepted: 3, delivered: 3);
        AssertCounts(report, "sink", accepted: 3, delivered: 3);
        Assert.Equal((StageState.Faulted, EndReason.Failed), (report.Stage("work").State, report.Stage("work").EndReason));
    }

    [Theory] // S10, S20
    [InlineData(1)]
    [InlineData(3)]
    public async Task OnCompleted_MayStillEmit(int parallelism)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Then(static o => new Scripted(o), Script.EmitOnCompleted, Work with { MaxDegreeOfParallelism = parallelism })
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2, 3, .. Enumerable.Repeat(-1, parallelism)], seen);
        Assert.Equal(3 + parallelism, report.Stage("work").Emitted);
    }

    [Theory] // S20, S4
    [InlineData(1)]
    [InlineData(3)]
    public async Task OnEndThrows_IsASecondaryErrorOfEachInstance_AndTheRunStaysCompleted(int parallelism)
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Then(static o => new Scripted(o), Script.ThrowOnEnd, Work with { MaxDegreeOfParallelism = parallelism })
            .ForEach(static _ => { }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Null(report.Cause);
        Assert.Equal(parallelism, report.SecondaryErrors.Count);
        Assert.All(report.SecondaryErrors, static e => Assert.Equal(("work", "end"), (Assert.IsType<StageFaultedException>(e).Stage, e.InnerException!.Message)));
    }

    [Fact] // S13
    public async Task ContextComplete_EndsTheStageAsFinished_AndTheSourceForLackOfDemand()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, int.MaxValue), new() { Name = "source" })
            .Then(static o => new Scripted(o), Script.CompleteAtThree, Work)
            .ForEach(seen.Add, new() { Name = "sink" }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal([1, 2, 3], seen);
        StageReport work = report.Stage("work");
        Assert.Equal((StageState.Completed, EndReason.Finished, 3L), (work.State, work.EndReason, work.Delivered));
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("source").State, report.Stage("source").EndReason));
        Assert.Equal((StageState.Completed, EndReason.InputEnded), (report.Stage("sink").State, report.Stage("sink").EndReason));
        Assert.All(Discarded, static d => Assert.Equal(("work", DiscardReason.NoDemand), (d.Stage, d.Reason)));
    }

    [Fact] // S14, S17
    public async Task ASourceThatThrows_FaultsTheRun_BehindItsValues()
    {
        ExpectFailure();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(static () => new FailingSource(), new() { Name = "source", Placement = Placement })
            .ForEach(seen.Add, new() { Name = "sink" }));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("source", "after 3"), (fault.Stage, fault.InnerException!.Message));
        Assert.Equal([1, 2, 3], seen);
        AssertCounts(await run.Report, "sink", accepted: 3, delivered: 3);
    }

    public enum Script
    {
        ThrowInFactory,
        ThrowOnStart,
        ThrowOnCompleted,
        ThrowOnEnd,
        EmitOnCompleted,
        CompleteAtThree,
    }

    /// <summary>Passes on its items and does one more thing.</summary>
    private sealed class Scripted : Runnable<int, int>
    {
        private readonly Script _script;

        public Scripted(Script script)
        {
            _script = script;
            if (script == Script.ThrowInFactory)
                throw new FormatException("factory");
        }

        protected override ValueTask OnStartAsync(CancellationToken cancellationToken) =>
            _script == Script.ThrowOnStart ? throw new FormatException("start") : default;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (_script == Script.CompleteAtThree && item == 3)
                Context.Complete();
            return EmitAsync(item, cancellationToken);
        }

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => _script switch
        {
            Script.ThrowOnCompleted => throw new FormatException("completed"),
            Script.EmitOnCompleted => EmitAsync(-1, cancellationToken),
            _ => default,
        };

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause) =>
            _script == Script.ThrowOnEnd ? throw new FormatException("end") : default;
    }

    private sealed class FailingSource : SourceRunnable<int>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            for (int i = 1; i <= 3; i++)
                await EmitAsync(i, stopToken);
            throw new FormatException("after 3");
        }
    }
}

/// <inheritdoc/>
public sealed class InProcessLifecycleTests : LifecycleContract
{
    protected override Placement Placement => Placement.InProcess;
}

/// <inheritdoc/>
public sealed class LoopbackLifecycleTests : LifecycleContract
{
    protected override Placement Placement => Placement.Loopback;
}

/// <inheritdoc/>
public sealed class ChildProcessLifecycleTests : LifecycleContract
{
    protected override Placement Placement => Placement.ChildProcess;
}
