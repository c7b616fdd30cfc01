using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>A stage whose input is always full: what comes from outside is seen after at most one more item of each instance.</summary>
public sealed class FloodTests : LifecycleTest
{
    [Theory] // S25: stop of a stage
    [InlineData(1)]
    [InlineData(3)]
    public async Task Finish_UnderAFloodedInput_IsSeenAfterAtMostOneMoreItemOfEachInstance(int parallelism)
    {
        var line = new Flood(this, parallelism);
        await line.UntilFloodedAsync();
        Task finishing = line.Run.Stage("work").FinishAsync();
        line.Gate.Open();

        await finishing.Within();

        PipelineReport report = await line.Run.Completion.Within();
        Assert.InRange(report.Stage("work").Delivered, parallelism, 2 * parallelism);
        Assert.Equal((StageState.Completed, EndReason.Finished), (report.Stage("work").State, report.Stage("work").EndReason));
        Assert.Equal((StageState.Completed, EndReason.NoDemand), (report.Stage("source").State, report.Stage("source").EndReason));
        Assert.Equal(report.Stage("work").Accepted, report.Stage("work").Delivered + report.Stage("work").Discarded);
    }

    [Theory] // S25: cancel
    [InlineData(1)]
    [InlineData(3)]
    public async Task Cancel_UnderAFloodedInput_IsSeenAfterAtMostOneMoreItemOfEachInstance(int parallelism)
    {
        ExpectFailure();
        var line = new Flood(this, parallelism);
        await line.UntilFloodedAsync();
        line.Run.Cancel();
        line.Gate.Open();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => line.Run.Completion.Within());

        Assert.Equal(parallelism, line.Started);
        PipelineReport report = await line.Run.Report;
        Assert.Equal(report.Stage("work").Accepted, report.Stage("work").Delivered + report.Stage("work").Discarded);
    }

    [Fact] // S25, S9: stop of the run; the source reads no further
    public async Task Stop_UnderAFloodedInput_ReadsNoFurther()
    {
        int read = 0;
        var gate = new Gate();
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, int.MaxValue).Select(x => Interlocked.Exchange(ref read, x)), new() { Name = "source" })
            .ForEach(async _ => await gate.WaitAsync(), new() { Name = "sink", BoundedCapacity = 4 }));
        await Waiting.UntilAsync(() => Volatile.Read(ref read) == 5, "the source waits with one more");
        run.Complete();
        gate.Open();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(5, read);
        AssertCounts(report, "sink", accepted: 5, delivered: 5);
    }

    [Theory] // S25, S41
    [InlineData(1)]
    [InlineData(3)]
    public async Task Tick_UnderAFloodedInput_RunsAfterAtMostOneMoreItemOfEachInstance(int parallelism)
    {
        ExpectFailure();
        var line = new Flood(this, parallelism);
        await line.UntilFloodedAsync();
        Time.Advance(TimeSpan.FromSeconds(1));
        line.Gate.Open();
        await Waiting.UntilAsync(() => line.ItemsBeforeFirstTick.Count == parallelism, "every instance has ticked");
        line.Run.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => line.Run.Completion.Within());

        // The one in work when the tick fell due, and at most one more.
        Assert.All(line.ItemsBeforeFirstTick, static n => Assert.InRange(n, 1, 2));
    }

    [Fact] // S41: in a source at each emit and while it waits there
    public async Task Tick_OfASourceThatWaitsForASlot_RunsWhileItWaits()
    {
        ExpectFailure();
        using var ticks = new SemaphoreSlim(0);
        PipelineRun run = Start(
            Pipeline.From(() => new TickingSource(ticks), new() { Name = "source", TickInterval = TimeSpan.FromSeconds(1) })
                .ForEach(async (_, ct) => await new Gate().WaitAsync(ct), new() { Name = "sink", BoundedCapacity = 2 }),
            FakeTimeOptions);
        await UntilFullAsync(run);
        await UntilWaitingForOutputAsync(run, "source");
        for (int i = 0; i < 3; i++)
        {
            Time.Advance(TimeSpan.FromSeconds(1));
            Assert.True(await ticks.WaitAsync(Waiting.Limit, TestToken));
        }

        run.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
    }

    /// <summary>A line whose stage holds its first item of each instance until its gate opens.</summary>
    private sealed class Flood
    {
        private readonly int _parallelism;
        private int _started;

        public Flood(FloodTests test, int parallelism)
        {
            _parallelism = parallelism;
            Run = test.Start(
                Pipeline.From(FaultTests.Naturals(), new() { Name = "source" })
                    .To(() => new Sink(this), new() { Name = "work", BoundedCapacity = 64, MaxDegreeOfParallelism = parallelism, TickInterval = TimeSpan.FromSeconds(1) }),
                test.FakeTimeOptions);
        }

        public PipelineRun Run { get; }

        public Gate Gate { get; } = new();

        public int Started => Volatile.Read(ref _started);

        public System.Collections.Concurrent.ConcurrentBag<int> ItemsBeforeFirstTick { get; } = [];

        public async Task UntilFloodedAsync()
        {
            await UntilFullAsync(Run);
            await Waiting.UntilAsync(() => Started == _parallelism, "every instance works");
        }

        private sealed class Sink(Flood flood) : SinkRunnable<int>
        {
            private int _items;
            private bool _hasTicked;

            protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
            {
                _items++;
                Interlocked.Increment(ref flood._started);
                await flood.Gate.WaitAsync(CancellationToken.None);
            }

            protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
            {
                if (!_hasTicked)
                    flood.ItemsBeforeFirstTick.Add(_items);
                _hasTicked = true;
                return default;
            }
        }
    }

    private sealed class TickingSource(SemaphoreSlim ticks) : SourceRunnable<int>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            for (int i = 0; ; i++)
                await EmitAsync(i, stopToken);
        }

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
        {
            ticks.Release();
            return default;
        }
    }
}
