using Puma.Dataflow.Runnables;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

public interface IWaitingControl
{
    ValueTask GoOnAsync();

    ValueTask WaitInsideAsync();

    Task<bool> DelayInsideAsync();
}

/// <summary>How a source waits: with its commands and ticks let in.</summary>
public sealed class BodyWaitTests : ChildTest
{
    public static TheoryData<string> Places => ["in process", "own thread", "loopback", "child process"];

    private static StageOptions At(string place) => new()
    {
        Name = "source",
        OwnThread = place == "own thread",
        Placement = place switch
        {
            "loopback" => Placement.Loopback,
            "child process" => Placement.ChildProcess,
            _ => Placement.InProcess,
        },
    };

    [Theory, MemberData(nameof(Places))] // S41
    public async Task ASourceThatWaitsForControl_GoesOnWhenACommandHasRun(string place)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(static () => new Stepwise(), At(place)).ForEach(seen.Add));
        IWaitingControl control = run.Control<IWaitingControl>("source");

        for (int i = 0; i < 3; i++)
            await control.GoOnAsync().AsTask().Within();

        await run.Completion.Within();
        Assert.Equal([1, 2, 3], seen);
    }

    [Fact] // S42: a child says that it has ended when every call that has run is answered
    public async Task TheCallThatEndsItsStage_IsAnswered()
    {
        for (int round = 0; round < 20; round++)
        {
            await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
            {
                await using PipelineRun run = Pipeline.From(static () => new Stepwise(), At("loopback")).ForEach(static _ => { }).Build(Options).Start();
                IWaitingControl control = run.Control<IWaitingControl>("source");
                for (int i = 0; i < 3; i++)
                    await control.GoOnAsync();
                await run.Completion;
            })).Within();
        }
    }

    [Theory, MemberData(nameof(Places))] // S41
    public async Task ACommand_ThatWaitsForControl_IsRefused_AndMayDelay(string place)
    {
        PipelineRun run = Start(Pipeline.From(static () => new Stepwise(), At(place)).ForEach(static _ => { }));
        IWaitingControl control = run.Control<IWaitingControl>("source");

        CommandFailedException refused = await Assert.ThrowsAsync<CommandFailedException>(() => control.WaitInsideAsync().AsTask().Within());
        Assert.True(refused.IsCausedBy<InvalidOperationException>());
        Assert.True(await control.DelayInsideAsync().Within());
        for (int i = 0; i < 3; i++)
            await control.GoOnAsync().AsTask().Within();
        await run.Completion.Within();
    }

    [Fact] // S41
    public async Task ASourceThatWaitsForAnythingElse_LetsACommandInAtItsNextEmit()
    {
        var source = new WaitsElsewhere();
        PipelineRun run = Start(Pipeline.From(() => source, new() { Name = "source" }).ForEach(static _ => { }));
        await source.Begun.WaitAsync(TestToken);
        Task<bool> ranBeside = run.Control<IWaitingControl>("source").DelayInsideAsync();

        source.GoOn.Open();

        Assert.False(await ranBeside.Within());
        await run.Completion.Within();
    }

    [Fact] // S29
    public async Task ADelay_WhoseTimerFiresEarly_WaitsForTheRest()
    {
        var time = new EarlyTimers(Time);
        var source = new Delayed();
        PipelineRun run = Start(Pipeline.From(() => source).ForEach(static _ => { }), Options with { TimeProvider = time });
        await source.Begun.WaitAsync(TestToken);

        for (int i = 0; i < 40 && !run.Completion.IsCompleted; i++)
        {
            await Waiting.UntilAsync(() => time.Armed > i || run.Completion.IsCompleted, "the wait has armed its timer again");
            Time.Advance(TimeSpan.FromTicks(time.LastDue.Ticks));
        }

        await run.Completion.Within();
        Assert.Equal(TimeSpan.FromSeconds(1), source.Waited);
    }

    private sealed class Stepwise : SourceRunnable<int>, IWaitingControl
    {
        private int _commands;

        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            for (int i = 1; i <= 3; i++)
            {
                while (_commands < i)
                    await WaitForControlAsync(stopToken);
                await EmitAsync(i, stopToken);
            }
        }

        public ValueTask GoOnAsync()
        {
            _commands++;
            return default;
        }

        public ValueTask WaitInsideAsync() => WaitForControlAsync();

        public async Task<bool> DelayInsideAsync()
        {
            await DelayAsync(TimeSpan.FromTicks(1));
            return true;
        }
    }

    private sealed class WaitsElsewhere : SourceRunnable<int>, IWaitingControl
    {
        private bool _isWaiting = true;

        public Gate Begun { get; } = new();

        public Gate GoOn { get; } = new();

        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            Begun.Open();
            await GoOn.WaitAsync(stopToken);
            _isWaiting = false;
            await EmitAsync(1, stopToken);
        }

        public ValueTask GoOnAsync() => default;

        public ValueTask WaitInsideAsync() => default;

        public Task<bool> DelayInsideAsync() => Task.FromResult(_isWaiting);
    }

    private sealed class Delayed : SourceRunnable<int>
    {
        public Gate Begun { get; } = new();

        public TimeSpan Waited { get; private set; }

        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            long begin = Context.TimeProvider.GetTimestamp();
            Begun.Open();
            await DelayAsync(TimeSpan.FromSeconds(1), stopToken);
            Waited = Context.TimeProvider.GetElapsedTime(begin);
        }
    }

    /// <summary>Timers of bodies that fire when only nine tenths of their time have passed.</summary>
    private sealed class EarlyTimers(TimeProvider inner) : TimeProvider
    {
        private int _armed;
        private long _lastDue;

        /// <summary>How often a wait of a body has armed its timer.</summary>
        public int Armed => Volatile.Read(ref _armed);

        public TimeSpan LastDue => TimeSpan.FromTicks(Volatile.Read(ref _lastDue));

        public override long TimestampFrequency => inner.TimestampFrequency;

        public override long GetTimestamp() => inner.GetTimestamp();

        public override DateTimeOffset GetUtcNow() => inner.GetUtcNow();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            state is IBodyStream ? new Timer(this, inner.CreateTimer(callback, state, dueTime, period)) : inner.CreateTimer(callback, state, dueTime, period);

        private sealed class Timer(EarlyTimers owner, ITimer inner) : ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period)
            {
                TimeSpan early = dueTime > TimeSpan.FromTicks(10) ? dueTime * 0.9 : dueTime;
                bool changed = inner.Change(early, period);
                Volatile.Write(ref owner._lastDue, early.Ticks);
                Interlocked.Increment(ref owner._armed);
                return changed;
            }

            public void Dispose() => inner.Dispose();

            public ValueTask DisposeAsync() => inner.DisposeAsync();
        }
    }
}
