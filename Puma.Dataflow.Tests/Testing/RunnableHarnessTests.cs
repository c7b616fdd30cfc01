using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Testing;

public sealed class RunnableHarnessTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact] // S30, Puma 76
    public async Task SendAsync_ReturnsWhatTheRunnableEmittedForTheItem()
    {
        await using var harness = RunnableHarness.For(() => new Repeater());
        await harness.StartAsync();

        Assert.Equal(["a"], await harness.SendAsync(("a", 1)));
        Assert.Empty(await harness.SendAsync(("b", 0)));
        Assert.Equal(["c", "c", "c"], await harness.SendAsync(("c", 3)));
        PipelineReport report = await harness.CompleteAsync();

        Assert.Equal(["a", "c", "c", "c", "end"], harness.Outputs);
        Assert.Equal((3, 5), (harness.Report.Delivered, harness.Report.Emitted));
        report.AssertConserved();
    }

    [Fact]
    public async Task SendAsync_MoreOutputsThanTheCapacity_ReturnsThemAll()
    {
        await using var harness = RunnableHarness.For(() => new Repeater(), new() { BoundedCapacity = 1 });
        await harness.StartAsync();

        Assert.Equal(1000, (await harness.SendAsync(("a", 1000))).Count);
    }

    [Fact]
    public async Task SendAsync_AsynchronousHandler_ReturnsWhenItHasReturned()
    {
        var gate = new Gate();
        await using var harness = RunnableHarness.For(() => new Waiting(gate));
        await harness.StartAsync();

        Task<IReadOnlyList<int>> sending = harness.SendAsync(1);
        await Infrastructure.Waiting.UntilAsync(() => harness.Report.InFlight == 1, "the handler runs");
        Assert.False(sending.IsCompleted);
        gate.Open();

        Assert.Equal([1], await sending.Within());
    }

    [Fact] // S3, S14
    public async Task SendAsync_HandlerThrows_ThrowsAsTheRunWould()
    {
        await using var harness = RunnableHarness.For(() => new Parser());
        await harness.StartAsync();

        await harness.SendAsync("1");
        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => harness.SendAsync("x"));

        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Equal(2, fault.ItemNumber);
        Assert.Equal(RunState.Faulted, harness.State);
        await Assert.ThrowsAsync<StageFaultedException>(() => harness.SendAsync("2"));
    }

    [Fact] // S35
    public async Task SendAsync_ErrorPolicySkips_ReturnsNothing()
    {
        await using var harness = RunnableHarness.For(() => new Parser(), new() { ErrorPolicy = ErrorPolicy.Skip });
        await harness.StartAsync();

        Assert.Empty(await harness.SendAsync("x"));
        Assert.Equal([2], await harness.SendAsync("2"));
        Assert.Equal(1, harness.Report.Skipped);
    }

    [Fact] // S35
    public async Task AdvanceAsync_RetryWithBackoff_RunsEachAttemptAtItsTime()
    {
        List<TimeSpan> attempts = [];
        RunnableHarness<int, int>? harness = null;
        DateTimeOffset start = default;
        harness = RunnableHarness.For(() => new Failing(() => attempts.Add(harness!.Time.GetUtcNow() - start)),
            new() { ErrorPolicy = ErrorPolicy.Retry(3, Backoff.Exponential(Second)).Then(ErrorPolicy.Skip) });
        await using RunnableHarness<int, int> owner = harness;
        await harness.StartAsync();
        start = harness.Time.GetUtcNow();

        Assert.Empty(await harness.SendAsync(1));
        Assert.Equal(StageActivity.WaitingForRetry, harness.Report.Activity);
        await harness.AdvanceAsync(Second * 2.5);
        Assert.Equal([TimeSpan.Zero, Second], attempts);
        await harness.AdvanceAsync(Second * 10);

        Assert.Equal([TimeSpan.Zero, Second, Second * 3, Second * 7], attempts);
        Assert.Equal(1, harness.Report.Skipped);
    }

    [Fact] // S44
    public async Task AdvanceAsync_SeveralIntervals_RunsEveryTickAtItsTime()
    {
        await using var harness = RunnableHarness.For(() => new Ticking(), new() { TickInterval = Second });
        await harness.StartAsync();
        DateTimeOffset start = harness.Time.GetUtcNow();

        await harness.AdvanceAsync(Second * 0.9);
        Assert.Empty(harness.Outputs);
        await harness.AdvanceAsync(Second * 3);
        await harness.SendAsync(0);
        await harness.AdvanceAsync(Second * 0.1);

        Assert.Equal([1, 2, 3, 4], harness.Outputs.Select(t => (t - start).TotalSeconds));
    }

    [Fact] // S44
    public async Task Time_Jumps_TheRunnableSeesOneTick()
    {
        await using var harness = RunnableHarness.For(() => new Ticking(), new() { TickInterval = Second });
        await harness.StartAsync();

        harness.Time.Advance(Second * 5);
        await harness.AdvanceAsync(TimeSpan.Zero);

        Assert.Single(harness.Outputs);
    }

    [Fact]
    public async Task AdvanceAsync_TickThrows_ThrowsAsTheRunWould()
    {
        await using var harness = RunnableHarness.For(() => new FailingTick(), new() { TickInterval = Second });
        await harness.StartAsync();

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => harness.AdvanceAsync(Second));

        Assert.True(fault.IsCausedBy<TimeZoneNotFoundException>());
    }

    [Fact]
    public async Task StartAsync_OnStartThrows_ThrowsAsTheRunWould()
    {
        await using var harness = RunnableHarness.For(() => new FailingStart());

        var fault = await Assert.ThrowsAsync<StageFaultedException>(harness.StartAsync);

        Assert.True(fault.IsCausedBy<NotSupportedException>());
        Assert.Equal("runnable", fault.Stage);
    }

    [Fact]
    public async Task Sink_HandlesWhatItIsSent()
    {
        List<int> seen = [];
        await using var harness = RunnableHarness.For(() => new Listing(seen));
        await harness.StartAsync();

        await harness.SendAsync(1);
        Assert.Equal([1], seen);
        await harness.SendAsync(2);
        await harness.CompleteAsync();

        Assert.Equal([1, 2, -1], seen);
    }

    [Fact]
    public async Task Source_EmitsAsItIsAsked()
    {
        await using var harness = RunnableHarness.For(() => new Counting(5));
        await harness.StartAsync();

        Assert.Equal(0, await harness.NextAsync());
        Assert.Equal(1, await harness.NextAsync());
        Assert.Equal([0, 1, 2, 3, 4], await harness.ReadToEndAsync());
        await Assert.ThrowsAsync<ProbeException>(harness.NextAsync);
    }

    [Fact] // S9
    public async Task Source_AskedToEnd_Ends()
    {
        await using var harness = RunnableHarness.For(() => new Counting(long.MaxValue));
        await harness.StartAsync();
        await harness.NextAsync();

        PipelineReport report = await harness.CompleteAsync();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal(Enumerable.Range(0, harness.Outputs.Count).Select(static i => (long)i), harness.Outputs);
    }

    [Fact] // S41, S44
    public async Task Source_WaitingForASlot_Ticks()
    {
        int ticks = 0;
        await using var harness = RunnableHarness.For(() => new Counting(long.MaxValue, () => ticks++), new() { TickInterval = Second });
        await harness.StartAsync();
        await Infrastructure.Waiting.UntilAsync(() => harness.Report.Activity == StageActivity.WaitingForOutput, "the source has filled its slots");

        await harness.AdvanceAsync(Second * 3);

        Assert.Equal(3, ticks);
    }

    [Fact] // Puma 72
    public async Task Command_TicksAndEnds()
    {
        List<string> calls = [];
        await using var harness = RunnableHarness.For(() => new Clock(calls), new() { TickInterval = Second });
        await harness.StartAsync();

        await harness.AdvanceAsync(Second * 2);
        await harness.CompleteAsync();

        Assert.Equal(["start", "tick", "tick", "completed", "end Completed"], calls);
    }

    [Fact] // Puma 86, 93
    public async Task Ports_EachInputAndOutputIsNamed()
    {
        await using var harness = RunnableHarness.For(() => new Labeller())
            .WithInput(r => r.Labels).WithInput(r => r.Numbers)
            .WithOutput(r => r.Labelled).WithOutput(r => r.Ended);
        await harness.StartAsync();

        await harness.SendAsync(r => r.Labels, "a");
        await harness.SendAsync(r => r.Numbers, 1);
        await harness.SendAsync(r => r.Numbers, 2);
        await harness.SendAsync(r => r.Labels, "b");
        await harness.SendAsync(r => r.Numbers, 3);
        Assert.Equal(["a1", "a2", "b3"], harness.Outputs(r => r.Labelled));
        Assert.Empty(harness.Outputs(r => r.Ended));
        await harness.CompleteAsync(r => r.Labels);
        Assert.Equal(["labels"], harness.Outputs(r => r.Ended));
        await harness.SendAsync(r => r.Numbers, 4);
        await harness.CompleteAsync(r => r.Numbers);
        await harness.CompleteAsync();

        Assert.Equal(["labels", "numbers"], harness.Outputs(r => r.Ended));
        Assert.Equal(["a1", "a2", "b3", "b4"], harness.Outputs(r => r.Labelled));
    }

    [Fact]
    public async Task CancelAsync_HandlerWaits_EndsItAsCancelled()
    {
        await using var harness = RunnableHarness.For(() => new Waiting(new Gate()));
        await harness.StartAsync();
        Task sending = harness.SendAsync(1);
        await Infrastructure.Waiting.UntilAsync(() => harness.Report.InFlight == 1, "the handler runs");

        PipelineReport report = await harness.CancelAsync();

        Assert.Equal(RunState.Canceled, report.State);
        await sending.Within();
    }

    [Fact]
    public async Task Misuse_IsAClearError()
    {
        Assert.Throws<ArgumentNullException>(() => RunnableHarness.For((Func<Runnable<int, int>>)null!));
        Assert.Throws<ArgumentNullException>(() => RunnableHarness.For((Func<SinkRunnable<int>>)null!));
        Assert.Throws<ArgumentNullException>(() => RunnableHarness.For((Func<SourceRunnable<int>>)null!));
        Assert.Throws<ArgumentNullException>(() => RunnableHarness.For((Func<CommandRunnable>)null!));
        Assert.Throws<ArgumentNullException>(() => RunnableHarness.For((Func<Labeller>)null!));
        Assert.Contains("MaxDegreeOfParallelism is 2", Assert.Throws<ArgumentException>(() => RunnableHarness.For(() => new Parser(), new() { MaxDegreeOfParallelism = 2 })).Message, StringComparison.Ordinal);
        await using var harness = RunnableHarness.For(() => new Parser());
        Assert.Contains("StartAsync", (await Assert.ThrowsAsync<InvalidOperationException>(() => harness.SendAsync("1"))).Message, StringComparison.Ordinal);
        await harness.StartAsync();
        await Assert.ThrowsAsync<InvalidOperationException>(harness.StartAsync);
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => harness.AdvanceAsync(-Second));
        await harness.CompleteAsync();
        await Assert.ThrowsAsync<InvalidOperationException>(() => harness.SendAsync("1"));
        Assert.Throws<ArgumentException>(() => RunnableHarness.For(() => new Labeller()).WithInput(r => r.Labels).WithInput(r => r.Labels));
        await using var unconnected = RunnableHarness.For(() => new Labeller()).WithInput(r => r.Labels).WithOutput(r => r.Ended);
        Assert.Equal(2, (await Assert.ThrowsAsync<PipelineBuildException>(unconnected.StartAsync)).Problems.Count);
    }

    private sealed class Repeater : Runnable<(string Text, int Times), string>
    {
        protected override async ValueTask OnItemAsync((string Text, int Times) item, CancellationToken cancellationToken)
        {
            for (int i = 0; i < item.Times; i++)
                await EmitAsync(item.Text, cancellationToken);
        }

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => EmitAsync("end", cancellationToken);
    }

    private sealed class Waiting(Gate gate) : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await gate.WaitAsync(cancellationToken);
            await EmitAsync(item, cancellationToken);
        }
    }

    private sealed class Parser : Runnable<string, int>
    {
        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken) => EmitAsync(int.Parse(item), cancellationToken);
    }

    private sealed class Failing(Action attempt) : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            attempt();
            throw new FormatException();
        }
    }

    private sealed class Ticking : Runnable<int, DateTimeOffset>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => EmitAsync(Context.TimeProvider.GetUtcNow(), cancellationToken);
    }

    private sealed class FailingTick : SinkRunnable<int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => throw new TimeZoneNotFoundException();
    }

    private sealed class FailingStart : SinkRunnable<int>
    {
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken) => throw new NotSupportedException();

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;
    }

    private sealed class Listing(List<int> seen) : SinkRunnable<int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await Task.Yield();
            seen.Add(item);
        }

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken)
        {
            seen.Add(-1);
            return default;
        }
    }

    private sealed class Counting(long count, Action? tick = null) : SourceRunnable<long>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            for (long i = 0; i < count && !stopToken.IsCancellationRequested; i++)
                await EmitAsync(i, CancellationToken.None);
        }

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
        {
            tick?.Invoke();
            return default;
        }
    }

    private sealed class Clock(List<string> calls) : CommandRunnable
    {
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken) => Note("start");

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => Note("tick");

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => Note("completed");

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause) => Note($"end {outcome}");

        private ValueTask Note(string call)
        {
            calls.Add(call);
            return default;
        }
    }

    private sealed class Labeller : PortRunnable
    {
        private string _label = "";

        public Labeller()
        {
            Labels = new Input<string>(OnLabelAsync, ct => Ended.EmitAsync("labels", ct));
            Numbers = new Input<int>(OnNumberAsync, ct => Ended.EmitAsync("numbers", ct));
        }

        public Input<string> Labels { get; }

        public Input<int> Numbers { get; }

        public Output<string> Labelled { get; } = new();

        public Output<string> Ended { get; } = new();

        private ValueTask OnLabelAsync(string label, CancellationToken cancellationToken)
        {
            _label = label;
            return default;
        }

        private ValueTask OnNumberAsync(int number, CancellationToken cancellationToken) => Labelled.EmitAsync($"{_label}{number}", cancellationToken);
    }
}
