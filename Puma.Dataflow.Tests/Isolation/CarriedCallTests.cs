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

/// <summary>What a call returns is copied in time: what it was made of may change, and the memory that it came in may be used again.</summary>
public sealed class CarriedCallTests
{
    // Long enough to be carried as a block, which is not copied when it is encoded.
    private const int Length = 100_000;

    private static readonly ControlMember<IKeeper, NoValue, byte[]> s_bytes = new("IKeeper.Bytes", static () => s_bytes!, static (keeper, _, _, _) => new(keeper.Bytes));

    private static readonly ItemCodecs s_codecs = new(null, []);

    private interface IKeeper
    {
        byte[] Bytes { get; }
    }

    private static CancellationToken TestToken => TestContext.Current.CancellationToken;

    [Fact] // S41
    public async Task AResultWithABlock_IsSentAsItWas_WhenItsMemberEnded()
    {
        var logged = new Gate();
        (DuplexStream here, DuplexStream there) = DuplexStream.CreatePair();
        var readable = new SemaphoreSlim(0);
        await using var channel = new FrameChannel(here, FrameFormat.MaxControl, static () => { });
        await using var other = new FrameChannel(there, FrameFormat.MaxCall, () => readable.Release());
        channel.Start();
        other.Start();
        var instance = new InstanceControl("stage", 0, NullLogger.Instance, watch: null, static () => { });
        var calls = new CallConnection(channel, static () => s_codecs, new InstanceServer(() => logged.WaitAsync()) { Instance = instance });
        Receive(calls, FrameType.ControlMember, 0, Identity());
        Receive(calls, FrameType.Call, 1, new byte[8]);
        Assert.True(instance.Lane.TryTake(out Command? command));
        var keeper = new Keeper();
        await command.RunAsync(instance, keeper, TestToken);

        // The answer waits for the log; meanwhile the instance handles its next item.
        Array.Fill(keeper.Bytes, (byte)7);
        logged.Open();

        Frame reply = await ReadAsync(other, readable);
        Assert.Equal((FrameType.Reply, 1), (reply.Type, reply.Number));
        Assert.True(reply.Flags.HasFlag(FrameFlags.HasBlocks));
        var reader = new PayloadReader();
        reader.Reset(reply.Payload, hasBlocks: true);
        byte[] result = s_codecs.For<byte[]>().Read(reader);
        Assert.Equal(Length, result.Length);
        Assert.All(result, static b => Assert.Equal(0, b));
    }

    [Theory] // S41, S42
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnAnswer_IsTakenOutOfTheConnection_BeforeThatGoesOn(bool fails)
    {
        var logged = new Gate();
        var calls = new CallConnection(new FrameChannel(Stream.Null, FrameFormat.MaxControl, static () => { }), static () => s_codecs, new NoServer(), beforeAnswer: () => logged.WaitAsync());
        var call = new OutgoingCall<byte[]>(s_bytes, s_codecs, static (member, failure, reason, cause) => new("stage", 0, member, failure, reason, cause), takeBack: null, static _ => { }, new LentObjects(), TestToken);
        call.Encode(0, default(NoValue));
        calls.Send(call);
        byte[] payload = fails ? Failure("it fails") : Encoded([1, 2, 3]);

        Receive(calls, fails ? FrameType.CallFailed : FrameType.Reply, 1, payload);
        Array.Fill(payload, (byte)255);
        Assert.False(call.Result.IsCompleted);
        logged.Open();

        if (fails)
            Assert.EndsWith("it fails", (await Assert.ThrowsAsync<CommandFailedException>(() => call.Result.Within())).Message, StringComparison.Ordinal);
        else
            Assert.Equal([1, 2, 3], await call.Result.Within());
    }

    private static byte[] Identity()
    {
        var fields = new FieldWriter();
        DelegateIdentity.Of(s_bytes.Self).WriteTo(fields);
        return fields.Written.ToArray();
    }

    private static byte[] Encoded(byte[] value)
    {
        var writer = new PayloadWriter();
        s_codecs.For<byte[]>().Write(writer, value);
        Assert.False(writer.HasBlocks);
        var encoded = new ArrayBufferWriter<byte>();
        writer.CopyTo(encoded);
        return encoded.WrittenSpan.ToArray();
    }

    private static byte[] Failure(string reason)
    {
        var fields = new FieldWriter();
        fields.Byte((byte)CommandFailure.NotServed);
        fields.Text(reason, maxBytes: 1024);
        return fields.Written.ToArray();
    }

    private static void Receive(CallConnection calls, FrameType type, long number, byte[] payload) =>
        Assert.True(calls.TryReceive(new Frame(type, 0, 0, FrameFlags.None, number, new ReadOnlySequence<byte>(payload))));

    private static async Task<Frame> ReadAsync(FrameChannel channel, SemaphoreSlim readable)
    {
        Frame frame;
        while (!channel.TryPeek(out frame))
            Assert.True(await readable.WaitAsync(Waiting.Limit, TestToken), "No answer came.");
        return frame;
    }

    private sealed class Keeper : CommandRunnable, IKeeper
    {
        public byte[] Bytes { get; } = new byte[Length];
    }

    private sealed class NoServer : ICallServer
    {
        public void Serve<TControl, TArguments, TResult>(IncomingCall<TControl, TArguments, TResult> call)
            where TControl : class => Assert.Fail("Nobody calls here.");

        public void Own(string member, Task running) => Assert.True(running.IsCompletedSuccessfully);
    }
}
