using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

public interface IMetronome
{
    /// <summary>When it has ticked, in seconds from the start.</summary>
    ValueTask<double[]> TicksAsync();

    /// <summary>Holds the instance until the gate opens.</summary>
    ValueTask HoldAsync(IGate gate);
}

/// <summary>The owner of a runnable sets its ticks, and under a clock of the test their times are exact, wherever they follow it.</summary>
public sealed class TickControlTests : ChildTest
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    public static TheoryData<string> Places => Placed.OnFakeTime;

    [Theory, MemberData(nameof(Places))] // S44, Puma G25
    public async Task PauseAndResume_RestartAFullInterval(string place)
    {
        PipelineRun<int> run = StartMetronome(place);
        ITickControl ticks = run.Stage("metronome").Ticks;
        await AdvanceAsync(run, 1.9);
        await ticks.PauseAsync().AsTask().Within();
        await AdvanceAsync(run, 5.4);
        await ticks.PauseAsync().AsTask().Within();
        await ticks.ResumeAsync().AsTask().Within();
        await AdvanceAsync(run, 0.9);
        await ticks.ResumeAsync().AsTask().Within();
        await AdvanceAsync(run, 1.2);

        await AssertTicksAsync(run, 1, 8.3, 9.3);
    }

    [Theory, MemberData(nameof(Places))] // S44, Puma G25
    public async Task TicksThatArePausedByOption_WaitForResume(string place)
    {
        PipelineRun<int> run = StartMetronome(place, isPaused: true);
        await AdvanceAsync(run, 5);
        await run.Stage("metronome").Ticks.ResumeAsync().AsTask().Within();
        await AdvanceAsync(run, 2.5);

        await AssertTicksAsync(run, 6, 7);
    }

    [Theory, MemberData(nameof(Places))] // S44, Puma G25
    public async Task AnIntervalThatChanges_CountsFromTheLastTick(string place)
    {
        PipelineRun<int> run = StartMetronome(place);
        ITickControl ticks = run.Stage("metronome").Ticks;
        await AdvanceAsync(run, 1.5);
        await ticks.SetIntervalAsync(2 * Second).AsTask().Within();
        await AdvanceAsync(run, 4);
        await ticks.SetIntervalAsync(Second / 4).AsTask().Within();
        await AdvanceAsync(run, 0.5);
        await ticks.SetIntervalAsync(null).AsTask().Within();
        await AdvanceAsync(run, 10);
        await ticks.SetIntervalAsync(Second).AsTask().Within();
        await AdvanceAsync(run, 1);

        // After the second change a tick was over-due: it comes at once, and the rest on its grid.
        await AssertTicksAsync(run, 1, 3, 5, 5.5, 5.75, 6, 17);
    }

    [Theory, MemberData(nameof(Places))] // S44, Puma G25
    public async Task AnInstanceThatFallsBehind_TicksOnce_AndGoesOnOnTheGrid(string place)
    {
        PipelineRun<int> run = StartMetronome(place);
        await AdvanceAsync(run, 1);
        var gate = new SteppedGate();
        Task holding = run.Control<IMetronome>("metronome").HoldAsync(gate).AsTask();
        await gate.ArrivedAsync();
        Time.Advance(3.4 * Second);
        gate.Open();
        await holding.Within();
        await AdvanceAsync(run, 1.6);

        await AssertTicksAsync(run, 1, 4.4, 5, 6);
    }

    private PipelineRun<int> StartMetronome(string place, bool isPaused = false) => Start(
        Pipeline.Accept<int>().To(static () => new Metronome(), Placed.At(place, "metronome") with { TickInterval = Second, TicksPaused = isPaused }),
        FakeTimeOptions with { SlowCallWarning = Timeout.InfiniteTimeSpan });

    /// <summary>Moves the time in small steps, and lets the instance come after each of them.</summary>
    private async Task AdvanceAsync(PipelineRun<int> run, double seconds)
    {
        IMetronome metronome = run.Control<IMetronome>("metronome");
        await metronome.TicksAsync().AsTask().Within();
        for (int left = (int)Math.Round(seconds * 20); left > 0; left--)
        {
            Time.Advance(Second / 20);

            // The tick that is due runs after the commands of a checkpoint, so it has run before those of the next.
            await metronome.TicksAsync().AsTask().Within();
            await metronome.TicksAsync().AsTask().Within();
        }
    }

    private static async Task AssertTicksAsync(PipelineRun<int> run, params double[] expected)
    {
        Assert.Equal(expected, await run.Control<IMetronome>("metronome").TicksAsync().AsTask().Within());
        run.Complete();
        await run.Completion.Within();
    }

    private sealed class Metronome : SinkRunnable<int>, IMetronome
    {
        private readonly List<double> _ticks = [];
        private DateTimeOffset _start;

        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            _start = Context.TimeProvider.GetUtcNow();
            return default;
        }

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
        {
            _ticks.Add(Math.Round((Context.TimeProvider.GetUtcNow() - _start).TotalSeconds, 3));
            return default;
        }

        public ValueTask<double[]> TicksAsync() => ValueTask.FromResult(_ticks.ToArray());

        public async ValueTask HoldAsync(IGate gate) => await gate.PassAsync();
    }
}
