using System.Buffers;
using Microsoft.Extensions.Logging.Abstractions;
using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Calls;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>When a call that comes to a child runs, and what becomes of one that does not.</summary>
public sealed class InstanceServerTests : IDisposable
{
    private static readonly ControlMember<IDisposable, NoValue, int> s_member = new("IDisposable.Member", static () => s_member!, static (_, _, _, _) => new(1));

    private readonly CancellationTokenSource _giveUp = new();
    private readonly InstanceControl _instance;
    private readonly CallConnection _calls;

    public InstanceServerTests()
    {
        _instance = new InstanceControl("stage", 0, NullLogger.Instance, watch: null, static () => { });
        var codecs = new ItemCodecs(null, []);
        var server = new InstanceServer(static () => Task.CompletedTask) { Instance = _instance };
        _calls = new CallConnection(new FrameChannel(Stream.Null, FrameFormat.MaxControl, static () => { }), () => codecs, server, static () => true);
        var fields = new FieldWriter();
        DelegateIdentity.Of(s_member.Self).WriteTo(fields);
        Receive(FrameType.ControlMember, 0, fields.Written.ToArray());
    }

    public void Dispose() => _giveUp.Dispose();

    [Fact] // S41
    public async Task ACallOfAnObject_WhileTheInstanceWaitsForIt_RunsAtOnce_AndAfterItHasGivenUp_AtItsTurn()
    {
        Task call = CallObjectAsync();
        Receive(FrameType.Call, 1, new byte[8], FrameFlags.Nested);
        Assert.Equal(0, _instance.Lane.Count);

        await _giveUp.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call.Within());
        Receive(FrameType.Call, 2, new byte[8], FrameFlags.Nested);
        Assert.Equal(1, _instance.Lane.Count);

        // The instance waits for another one.
        _ = CallObjectAsync();
        Receive(FrameType.Call, 3, new byte[8], FrameFlags.Nested);
        Assert.Equal(1, _instance.Lane.Count);
    }

    [Fact] // S41
    public void ACallOfAnObject_ThatHasAnswered_RunsAtItsTurn()
    {
        _ = CallObjectAsync();

        Receive(FrameType.Reply, 1, [1, 0, 0, 0]);
        Receive(FrameType.Call, 1, new byte[8], FrameFlags.Nested);

        Assert.Equal(1, _instance.Lane.Count);
    }

    [Fact] // S42
    public async Task ACallThatIsGivenUp_WhenTheStreamHasTakenIt_AndNotBegun_SaysThatItNeverRan()
    {
        Receive(FrameType.Call, 1, new byte[8]);
        Assert.True(_instance.Lane.TryTake(out Command? taken));
        var call = (ControlCall<IDisposable, NoValue, int>)taken;

        Receive(FrameType.CancelCall, 1, []);

        Assert.Equal(CommandFailure.NotServed, (await Assert.ThrowsAsync<CommandFailedException>(() => call.Result.Within())).Failure);
        await taken.RunAsync(_instance, null!, TestContext.Current.CancellationToken);
    }

    private Task CallObjectAsync()
    {
        var call = new OutgoingCall<int>(s_member, _calls.Codecs, static (member, failure, reason, cause) => new("stage", 0, member, failure, reason, cause), takeBack: null, static _ => { }, new LentObjects(), _giveUp.Token);
        if (!_giveUp.IsCancellationRequested)
            _giveUp.Token.UnsafeRegister(static state => ((OutgoingCall<int>)state!).GiveUp(), call);
        call.Encode(0, default(NoValue));
        _calls.Send(call);
        return call.Result;
    }

    private void Receive(FrameType type, long number, byte[] payload, FrameFlags flags = FrameFlags.None) =>
        Assert.True(_calls.TryReceive(new Frame(type, 0, 0, flags, number, new ReadOnlySequence<byte>(payload))));
}
