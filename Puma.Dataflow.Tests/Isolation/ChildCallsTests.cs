using System.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Calls;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Stages;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>The calls to one instance when its child comes, is lost, and is followed by another.</summary>
public sealed class ChildCallsTests : PipelineTest
{
    private static readonly ChildExit s_exit = new(7, ChildExitReason.Killed, null, "SIGKILL", "It was killed.", "");

    private static readonly ControlMember<IGuest, Remote<IGuest>, int> s_member = new("IGuest.Member", static () => s_member!, static (_, _, _, _) => new(1));

    private ChildCalls _calls = null!;

    private interface IGuest : IAsyncDisposable;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Transform(static x => x, Placed("stage")).ForEach(static _ => { }), Options with { SlowCallWarning = Timeout.InfiniteTimeSpan });
        ChildStage stage = run.Graph.Nodes.OfType<ChildStage>().Single();

        // Beside those of the stage: the children of these are the test's.
        _calls = new ChildCalls(stage, 0, stage.MakeWatch());

        static StageOptions Placed(string name) => new() { Name = name, Placement = Placement.Loopback };
    }

    private static CallConnection Connect() => new(new FrameChannel(Stream.Null, FrameFormat.MaxControl, static () => { }), static () => new(null, []), new NoServer());

    /// <summary>Calls with an object of the caller.</summary>
    private (Task<int> Call, long Given) Call(CancellationToken cancellationToken = default)
    {
        Remote<IGuest> given = _calls.Side.Arguments.Lend<IGuest>(new Guest());
        return (_calls.Target.CallAsync(s_member, given, cancellationToken).AsTask(), given.Id);
    }

    private bool IsLent(long given) => _calls.Side.Mine.Find(given) is not null;

    private static void Answer(CallConnection connection, long id, byte result) =>
        Assert.True(connection.TryReceive(new Frame(FrameType.Reply, 0, 0, FrameFlags.None, id, new ReadOnlySequence<byte>([result, 0, 0, 0]))));

    private static async Task<CommandFailedException> IsLostAsync(Task call)
    {
        CommandFailedException failure = await Assert.ThrowsAsync<CommandFailedException>(() => call.Within());
        Assert.Equal(CommandFailure.ProcessLost, failure.Failure);
        Assert.Equal(s_exit, Assert.IsType<ChildProcessLostException>(failure.InnerException).Exit);
        return failure;
    }

    [Fact] // S37, S42
    public async Task WhatALostChildHad_FailsOnce_AndWhatItWasGivenIsFree()
    {
        CallConnection child = Connect();
        _calls.Attach(child);
        (Task<int> Call, long Given)[] pending = [Call(), Call()];
        (Task<int> answered, long kept) = Call();
        Answer(child, 3, 5);
        Assert.Equal(5, await answered.Within());
        Assert.True(IsLent(kept));

        _calls.Detach(child, s_exit);

        foreach ((Task<int> call, long given) in pending)
        {
            CommandFailedException failure = await IsLostAsync(call);
            Assert.Contains("whether it ran is unknown", failure.Message, StringComparison.Ordinal);
            Assert.False(IsLent(given));
        }

        Assert.False(IsLent(kept));

        // It is lost once, however often that is told, and nothing of it is pending any more.
        _calls.Detach(child, s_exit);
        Assert.Throws<ProtocolViolationException>(() => Answer(child, 1, 5));
    }

    [Fact] // S37, S42
    public async Task WhatIsCalledWhenAChildIsLost_WaitsForTheNext()
    {
        CallConnection first = Connect(), second = Connect();
        _calls.Attach(first);
        (Task<int> lost, _) = Call();
        _calls.Detach(first, s_exit);
        await IsLostAsync(lost);

        (Task<int> call, long given) = Call();
        Assert.False(call.IsCompleted);
        _calls.Attach(second);
        Answer(second, 1, 9);

        Assert.Equal(9, await call.Within());
        Assert.True(IsLent(given));

        // What is told late of the first harms nothing of the second.
        _calls.Detach(first, s_exit);
        Assert.True(IsLent(given));
        (Task<int> next, _) = Call();
        Answer(second, 2, 11);
        Assert.Equal(11, await next.Within());
    }

    [Fact] // S37, S42
    public async Task AChildThatIsLostBeforeItIsAttached_GetsNothing_AndWhatWaitsIsForTheNext()
    {
        CallConnection gone = Connect(), next = Connect();
        (Task<int> call, _) = Call();
        _calls.Detach(gone, s_exit);

        _calls.Attach(gone);
        Assert.False(call.IsCompleted);
        _calls.Attach(next);

        Answer(next, 1, 3);
        Assert.Equal(3, await call.Within());
    }

    [Fact] // S42
    public async Task ACallThatIsGivenUp_WhileItWaitsForAChild_IsNeverSent_AndLeavesNothing()
    {
        using var source = new CancellationTokenSource();
        CallConnection child = Connect();
        (Task<int> call, long given) = Call(source.Token);

        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call.Within());
        Assert.False(IsLent(given));
        _calls.Attach(child);
        Assert.Throws<ProtocolViolationException>(() => Answer(child, 1, 3));
    }

    [Fact] // S42
    public async Task ACallThatIsGivenUp_IsTakenBack_BeforeItsCallerIsTold()
    {
        using var source = new CancellationTokenSource();
        bool? wasTold = null;
        var call = new OutgoingCall<int>(s_member, new(null, []), static (member, failure, reason, cause) => new("stage", 0, member, failure, reason, cause), c => wasTold = !c.IsAwaited, static _ => { }, new LentObjects(), source.Token);
        await source.CancelAsync();

        call.GiveUp();

        Assert.Equal(false, wasTold);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call.Result.Within());
    }

    [Fact] // S42
    public async Task WhatAChildHad_WhenTheStageEndedBeforeIt_IsToldThatItsOutcomeIsUnknown()
    {
        CallConnection child = Connect();
        _calls.Attach(child);
        (Task<int> had, _) = Call();
        _calls.Close(new CommandRefusal(CommandFailure.StageEnded, "the stage has completed."));
        (Task<int> late, long given) = Call();

        _calls.Detach(child, s_exit);

        CommandFailedException ofHad = await Assert.ThrowsAsync<CommandFailedException>(() => had.Within());
        CommandFailedException ofLate = await Assert.ThrowsAsync<CommandFailedException>(() => late.Within());
        Assert.Equal((CommandFailure.StageEnded, CommandFailure.StageEnded), (ofHad.Failure, ofLate.Failure));
        Assert.EndsWith("Its child had it; whether it ran is unknown.", ofHad.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("unknown", ofLate.Message, StringComparison.Ordinal);
        Assert.False(IsLent(given));
    }

    [Fact] // S42
    public async Task CallsThatRaceTheLossOfTheirChild_FailOrWait_AndTheNextChildGetsWhatWaits()
    {
        const int Rounds = 500, Each = 4;
        for (int round = 0; round < Rounds; round++)
        {
            CallConnection child = Connect(), next = Connect();
            _calls.Attach(child);
            using var meet = new Barrier(2);
            Task<(Task<int> Call, long Given)[]> calling = Task.Run(() =>
            {
                Assert.True(meet.SignalAndWait(Waiting.Limit, TestToken));
                return Enumerable.Range(0, Each).Select(_ => Call()).ToArray();
            });
            Task losing = Task.Run(() =>
            {
                Assert.True(meet.SignalAndWait(Waiting.Limit, TestToken));
                _calls.Detach(child, s_exit);
            });
            (Task<int> Call, long Given)[] calls = await calling.Within();
            await losing.Within();

            // Those that the lost child had came before those that wait.
            _calls.Attach(next);
            int lost = calls.Count(c => !IsLent(c.Given));
            foreach ((Task<int> call, _) in calls.Take(lost))
                await IsLostAsync(call);
            for (int i = lost; i < Each; i++)
            {
                Answer(next, i - lost + 1, 1);
                Assert.Equal(1, await calls[i].Call.Within());
            }

            Assert.Throws<ProtocolViolationException>(() => Answer(next, Each - lost + 1, 1));
            _calls.Detach(next, s_exit);
            Assert.All(calls, c => Assert.False(IsLent(c.Given)));
        }
    }

    private sealed class Guest : IGuest
    {
        public ValueTask DisposeAsync() => default;
    }

    private sealed class NoServer : ICallServer
    {
        public void Serve<TControl, TArguments, TResult>(IncomingCall<TControl, TArguments, TResult> call)
            where TControl : class => Assert.Fail("Nobody calls here.");

        public void Own(string member, Task running) => Assert.True(running.IsCompletedSuccessfully);
    }
}
