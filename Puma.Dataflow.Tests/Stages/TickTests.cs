using Puma.Dataflow.Testing;

namespace Puma.Dataflow.Tests.Stages;

public sealed class TickTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact] // S44, Puma 98, 103, 104
    public async Task Ticks_LateOnes_StayOnTheGridAndMakeNoBurst()
    {
        var runnable = new Metronome();
        await using var harness = RunnableHarness.For(() => runnable, new() { TickInterval = Second });
        await harness.StartAsync();
        harness.Time.Advance(Second * 3.4);
        await harness.AdvanceAsync(TimeSpan.Zero);
        Assert.Equal([3.4], runnable.Ticks);

        await harness.AdvanceAsync(Second * 1.6);

        Assert.Equal([3.4, 4, 5], runnable.Ticks);
    }

    [Fact] // S44, Puma 101
    public async Task Interval_Changed_CountsFromTheLastTick()
    {
        var runnable = new Metronome();
        await using var harness = RunnableHarness.For(() => runnable, new() { TickInterval = Second });
        await harness.StartAsync();
        await harness.AdvanceAsync(Second * 1.5);
        runnable.Schedule.Interval = Second * 2;
        await harness.AdvanceAsync(Second * 4);
        Assert.Equal([1, 3, 5], runnable.Ticks);

        runnable.Schedule.Interval = Second * 0.25;
        await harness.AdvanceAsync(Second * 0.5);
        Assert.Equal([1, 3, 5, 5.5, 5.75, 6], runnable.Ticks);
        runnable.Schedule.Interval = null;
        await harness.AdvanceAsync(Second * 10);
        Assert.Equal(6, runnable.Ticks.Count);
    }

    [Fact] // S44, Puma 99, 100
    public async Task PauseAndResume_RestartAFullInterval()
    {
        var runnable = new Metronome();
        await using var harness = RunnableHarness.For(() => runnable, new() { TickInterval = Second });
        await harness.StartAsync();
        await harness.AdvanceAsync(Second * 1.9);
        runnable.Schedule.Pause();
        Assert.True(runnable.Schedule.IsPaused);
        await harness.AdvanceAsync(Second * 5.4);
        Assert.Equal([1], runnable.Ticks);
        runnable.Schedule.Resume();
        await harness.AdvanceAsync(Second * 2);

        Assert.Equal([1, 8.3, 9.3], runnable.Ticks);
    }

    [Fact] // S44
    public async Task TicksPaused_WaitForResume()
    {
        var runnable = new Metronome();
        await using var harness = RunnableHarness.For(() => runnable, new() { TickInterval = Second, TicksPaused = true });
        await harness.StartAsync();
        await harness.AdvanceAsync(Second * 5);
        Assert.Empty(runnable.Ticks);
        runnable.Schedule.Resume();
        await harness.AdvanceAsync(Second);

        Assert.Equal([6], runnable.Ticks);
    }

    [Fact] // Puma 102
    public async Task Complete_EndsTheTicks()
    {
        var runnable = new Metronome();
        await using var harness = RunnableHarness.For(() => runnable, new() { TickInterval = Second });
        await harness.StartAsync();
        await harness.AdvanceAsync(Second);
        await harness.CompleteAsync();
        harness.Time.Advance(Second * 5);

        Assert.Equal([1], runnable.Ticks);
        runnable.Schedule.Resume();
        runnable.Schedule.Interval = Second;
        Assert.Equal([1], runnable.Ticks);
    }

    [Fact]
    public async Task Context_KnowsItsStage()
    {
        var runnable = new Metronome();
        await using var harness = RunnableHarness.For(() => runnable, new() { Name = "clock" });
        await harness.StartAsync();
        Assert.Equal(("clock", 0, 0L), (runnable.Known.StageName, runnable.Known.Instance, runnable.Known.ItemNumber));
        await harness.SendAsync(0);
        await harness.SendAsync(0);
        Assert.Equal((2L, 1), (runnable.Known.ItemNumber, runnable.Known.Attempt));
        Assert.Same(harness.Time, runnable.Known.TimeProvider);

        runnable.Known.Complete();
        PipelineReport report = await harness.CompleteAsync();

        Assert.Equal((RunState.Completed, EndReason.Finished), (report.State, report.Stage("clock").EndReason));
    }

    private sealed class Metronome : SinkRunnable<int>
    {
        private DateTimeOffset _start;

        public List<double> Ticks { get; } = [];

        public TickSchedule Schedule => Known.Ticks;

        public StageContext Known => Context;

        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            _start = Context.TimeProvider.GetUtcNow();
            return default;
        }

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
        {
            Ticks.Add((Context.TimeProvider.GetUtcNow() - _start).TotalSeconds);
            return default;
        }
    }
}
