using System.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Calls;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What no side of the library says in calls ends the connection, and no call is lost by it (S40, S42).</summary>
public sealed class CallConnectionTests
{
    private static readonly ControlMember<IDisposable, NoValue, int> s_member = new("IDisposable.Member", static () => s_member!, static (_, _, _, _) => new(1));

    private readonly CallConnection _calls;
    private readonly Server _server = new();

    public CallConnectionTests()
    {
        var channel = new FrameChannel(Stream.Null, FrameFormat.MaxControl, static () => { });
        var codecs = new ItemCodecs(null, []);
        _calls = new CallConnection(channel, () => codecs, _server);
    }

    [Fact] // S40
    public async Task AFailureThatIsNone_EndsTheConnection_AndWithItTheCall()
    {
        OutgoingCall<int> call = Send();

        Assert.Throws<ProtocolViolationException>(() => Receive(FrameType.CallFailed, 1, [255, 0, 0, 0, 0]));
        Assert.Throws<ProtocolViolationException>(() => Receive(FrameType.CallFailed, 1, []));
        _calls.End(static c => Failed(c.Member.Name));

        await Assert.ThrowsAsync<CommandFailedException>(() => call.Result.Within());
    }

    [Fact] // S40
    public async Task AReplyThatIsNone_FailsItsCallAlone()
    {
        OutgoingCall<int> call = Send(), next = Send();

        Receive(FrameType.Reply, 1, [1, 2]);

        Assert.Equal(CommandFailure.NotCarried, (await Assert.ThrowsAsync<CommandFailedException>(() => call.Result.Within())).Failure);
        Assert.False(next.Result.IsCompleted);
    }

    [Fact] // S38, S42: it would run for nothing
    public void ACallWhoseResultCannotBeCarried_IsRefusedBeforeItIsSent()
    {
        var call = new OutgoingCall<UnmadeTests.Odd>(s_member, _calls.Codecs, static (member, failure, reason, cause) => new("stage", 0, member, failure, reason, cause), takeBack: null, static _ => { }, new LentObjects(), TestContext.Current.CancellationToken);

        CommandFailedException refused = Assert.Throws<CommandFailedException>(() => call.Encode(0, default(NoValue)));

        Assert.Equal(CommandFailure.NotCarried, refused.Failure);
        Assert.Contains("parameter 'a'", refused.Message, StringComparison.Ordinal);
    }

    [Fact] // S40
    public void WhatNoSideSays_IsAViolation()
    {
        Assert.Throws<ProtocolViolationException>(() => Receive(FrameType.Reply, 1, []));
        Assert.Throws<ProtocolViolationException>(() => Receive(FrameType.Call, 1, new byte[8]));
        Assert.Throws<ProtocolViolationException>(() => Receive(FrameType.ControlMember, 1, []));
        Assert.Throws<ProtocolViolationException>(() => Receive(FrameType.ControlMember, 0, [1, 2, 3]));
        Tell();
        Assert.Throws<ProtocolViolationException>(() => Receive(FrameType.Call, 1, new byte[7]));
        Assert.True(Receive(FrameType.Call, 1, new byte[8]));
        Assert.Throws<ProtocolViolationException>(() => Receive(FrameType.Call, 1, new byte[8]));
        Assert.True(Receive(FrameType.CancelCall, 7, []));
        Assert.Equal(1, _server.Served);
    }

    [Fact] // S40
    public void RandomFrames_AreServedOrViolations_AndNothingElse()
    {
        Tell();
        FrameType[] types = [FrameType.ControlMember, FrameType.Call, FrameType.CancelCall, FrameType.Reply, FrameType.CallFailed];
        for (int seed = 0; seed < 20_000; seed++)
        {
            var random = new Random(seed);
            if (random.Next(2) == 0)
                _ = Send();
            byte[] payload = new byte[random.Next(40)];
            random.NextBytes(payload);
            try
            {
                Receive(types[random.Next(types.Length)], random.Next(20), payload, (ushort)random.Next(3));
            }
            catch (ProtocolViolationException)
            {
                // The connection would end here.
            }
        }
    }

    private OutgoingCall<int> Send()
    {
        var call = new OutgoingCall<int>(s_member, _calls.Codecs, static (member, failure, reason, cause) => new("stage", 0, member, failure, reason, cause), takeBack: null, static _ => { }, new LentObjects(), TestContext.Current.CancellationToken);
        call.Encode(0, default(NoValue));
        _calls.Send(call);
        _ = call.Result.ContinueWith(static t => t.Exception, TaskScheduler.Default);
        return call;
    }

    private void Tell()
    {
        var fields = new FieldWriter();
        DelegateIdentity.Of(s_member.Self).WriteTo(fields);
        Receive(FrameType.ControlMember, 0, fields.Written.ToArray());
    }

    private bool Receive(FrameType type, long number, byte[] payload, ushort port = 0) =>
        _calls.TryReceive(new Frame(type, port, 0, FrameFlags.None, number, new ReadOnlySequence<byte>(payload)));

    private static CommandFailedException Failed(string member) => new("stage", 0, member, CommandFailure.ProcessLost, "lost", null);

    private sealed class Server : ICallServer
    {
        public int Served { get; private set; }

        public void Serve<TControl, TArguments, TResult>(IncomingCall<TControl, TArguments, TResult> call)
            where TControl : class => Served++;

        public void Own(string member, Task running) => Assert.True(running.IsCompletedSuccessfully);
    }
}
