using Microsoft.Extensions.Logging.Abstractions;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Control;

/// <summary>What becomes of a call that others give up, or call, while the stream of its instance takes it.</summary>
public sealed class InstanceControlTests
{
    private const int Rounds = 5_000;

    private static readonly ControlMember<ICalled, NoValue, NoValue> s_run = new("ICalled.RunAsync", static () => s_run!, static async (called, _, _, token) =>
    {
        await called.RunAsync(token);
        return default;
    });

    private static readonly ControlMember<ICalled, Remote<IDisposableGuest>, NoValue> s_take = new("ICalled.TakeAsync", static () => s_take!, static async (called, _, _, token) =>
    {
        await called.RunAsync(token);
        return default;
    });

    private readonly Called _called = new();
    private InstanceControl _instance = Make();

    private interface ICalled
    {
        ValueTask RunAsync(CancellationToken cancellationToken);
    }

    private interface IDisposableGuest : IAsyncDisposable;

    private static CancellationToken TestToken => TestContext.Current.CancellationToken;

    private static InstanceControl Make() => new("stage", 0, NullLogger.Instance, watch: null, static () => { });

    private ControlCall<ICalled, NoValue, NoValue> Call(CancellationToken callerToken = default)
    {
        var call = new ControlCall<ICalled, NoValue, NoValue>(_instance, lent: 0, s_run, default, callerToken);
        _instance.Take(call);
        return call;
    }

    private Task RunAsync(Command command) => command.RunAsync(_instance, _called, TestToken).AsTask();

    [Fact] // S42: an emit is refused a moment before the token of the instance fires
    public async Task AMember_WhoseEmitIsRefusedBecauseTheStageGivesUp_IsToldAsTheEndOfTheStage()
    {
        ControlCall<ICalled, NoValue, NoValue> call = Call();
        Assert.True(_instance.Lane.TryTake(out Command? taken));
        _called.Failure = new OperationCanceledException("nothing can be emitted any more", TestToken);

        await RunAsync(taken).Within();

        Assert.Equal(CommandFailure.StageEnded, (await Assert.ThrowsAsync<CommandFailedException>(() => call.Result.Within())).Failure);
    }

    [Fact] // S42
    public async Task ACallThatIsGivenUp_WhenTheStreamHasTakenIt_NeverRuns_AndItsCallerIsToldSo()
    {
        using var source = new CancellationTokenSource();
        ControlCall<ICalled, NoValue, NoValue> call = Call(source.Token);
        Assert.True(_instance.Lane.TryTake(out Command? taken));

        await source.CancelAsync();
        call.GiveUp();
        await RunAsync(taken).Within();

        Assert.Equal(source.Token, (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call.Result.Within())).CancellationToken);
        Assert.Equal((0, false), (_called.Runs, call.HasBegun));
    }

    [Fact] // S42
    public async Task ACallThatIsGivenUp_WhenItHasBegun_RunsToItsEnd_AndItsCallerIsToldSo()
    {
        using var source = new CancellationTokenSource();
        ControlCall<ICalled, NoValue, NoValue> call = Call(source.Token);
        Assert.True(_instance.Lane.TryTake(out Command? taken));
        _called.Gate = new Gate();
        Task running = RunAsync(taken);

        await source.CancelAsync();
        call.GiveUp();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call.Result.Within());
        Assert.Equal(true, call.HasBegun);
        Assert.False(running.IsCompleted);
        _called.Gate.Open();
        await running.Within();
        Assert.Equal((1, 1), (_called.Runs, _called.Ends));
    }

    [Fact] // S42
    public async Task WhatACallWasGiven_IsFree_WhenItIsGivenUpAsTheStreamTakesIt()
    {
        long guest = _instance.Given.Add(new Guest(), isOwned: false, holder: null);
        var call = new ControlCall<ICalled, Remote<IDisposableGuest>, NoValue>(_instance, lent: 0, s_take, new(guest), TestToken);
        _instance.Take(call);
        Assert.True(_instance.Lane.TryTake(out Command? taken));

        call.GiveUp();

        Assert.Null(_instance.Given.Find(guest));
        await RunAsync(taken).Within();
        Assert.Equal(0, _called.Runs);
    }

    [Fact] // S42
    public async Task ACallThatIsGivenUp_AsTheStreamTakesIt_RunsOrNot_AsItsCallerIsTold()
    {
        ControlCall<ICalled, NoValue, NoValue> call = null!;
        bool? told = null;
        await RaceAsync(
            () => call = Call(),
            () =>
            {
                call.GiveUp();
                told = call.HasBegun;
            },
            () =>
            {
                if (_instance.Lane.TryTake(out Command? taken))
                    Assert.True(RunAsync(taken).IsCompletedSuccessfully);
            },
            () =>
            {
                Assert.Equal(told, _called.Runs == 1);
                Assert.Equal(0, _instance.Lane.Count);
                _called.Runs = 0;
            });
    }

    [Fact] // S41
    public async Task ACall_OfWorkThatTheStartLeftRunning_AsTheStartEnds_IsRefusedOrWaits_AndNeverRunsBesideTheStream()
    {
        var code = new Code();
        StageContext context = MakeContext();
        var calls = new ControlCall<ICalled, NoValue, NoValue>[30];
        await RaceAsync(
            () =>
            {
                _instance = Make();
                for (int i = 0; i < calls.Length; i++)
                    calls[i] = new(_instance, lent: 0, s_run, default, TestToken);
            },
            () =>
            {
                foreach (ControlCall<ICalled, NoValue, NoValue> call in calls)
                    _instance.Take(call);
            },
            () =>
            {
                // Not before the first of them.
                Assert.True(SpinWait.SpinUntil(() => calls[0].Result.IsCompleted || _instance.Lane.Count > 0, Waiting.Limit));
                _instance.Begin(code, context, TestToken);
            },
            () =>
            {
                Assert.Equal(0, code.Runs);
                Assert.Equal(calls.Count(static c => c.Result.Exception is null), _instance.Lane.Count);
            },
            onOther: () => _instance.Lane.Enter());
    }

    /// <summary>Has two threads do something at the same time, again and again.</summary>
    /// <param name="prepare">Runs before each round.</param>
    /// <param name="other">What the other thread does.</param>
    /// <param name="own">What this thread does meanwhile.</param>
    /// <param name="check">Runs after each round.</param>
    /// <param name="onOther">What the other thread does first in each round, before both begin.</param>
    private static async Task RaceAsync(Action prepare, Action other, Action own, Action check, Action? onOther = null)
    {
        using var meet = new Barrier(2);
        Task racing = Task.Run(() =>
        {
            for (int i = 0; i < Rounds; i++)
            {
                Meet();
                onOther?.Invoke();
                Meet();
                other();
                Meet();
            }
        });
        Task owning = Task.Run(() =>
        {
            for (int i = 0; i < Rounds; i++)
            {
                prepare();
                Meet();
                Meet();
                own();
                Meet();
                check();
            }
        });
        await (await Task.WhenAny(racing, owning).Within()).Within();
        await Task.WhenAll(racing, owning).Within();

        void Meet() => Assert.True(meet.SignalAndWait(Waiting.Limit, TestToken), "The other thread did not come.");
    }

    private static StageContext MakeContext()
    {
        var time = new TestClock();
        return new StageContext("stage", 0, NullLogger.Instance, time, new TickSchedule(time, interval: null, paused: false, static () => { }), new LocalStatus(new StatusBoard(), 0, time), static () => { });
    }

    private sealed class Called : CommandRunnable, ICalled
    {
        public int Runs { get; set; }

        public int Ends { get; private set; }

        /// <summary>What the member throws; null for nothing.</summary>
        public Exception? Failure { get; set; }

        /// <summary>What the member waits for; null for nothing.</summary>
        public Gate? Gate { get; set; }

        public async ValueTask RunAsync(CancellationToken cancellationToken)
        {
            Runs++;
            if (Gate is not null)
                await Gate.WaitAsync(CancellationToken.None);
            if (Failure is not null)
                throw Failure;
            Ends++;
        }
    }

    private sealed class Guest : IDisposableGuest
    {
        public ValueTask DisposeAsync() => default;
    }

    private sealed class Code : IControlledCode
    {
        private int _runs;

        public int Runs => Volatile.Read(ref _runs);

        public ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref _runs);
            return default;
        }

        public ValueTask TickAsync(CancellationToken cancellationToken) => default;
    }
}
