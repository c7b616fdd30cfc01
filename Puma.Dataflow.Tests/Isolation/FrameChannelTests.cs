using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>One connection: who waits for it is told, whatever ends it.</summary>
public sealed class FrameChannelTests
{
    private const int Half = 600 * 1024;

    [Fact]
    public async Task Congestion_ThatEnds_IsToldOnce()
    {
        var stream = new SlowStream();
        var told = new SemaphoreSlim(0);
        var channel = new FrameChannel(stream, 2 * Half, static () => { }, () => told.Release());
        channel.Start();

        Send(channel);
        await stream.WritingAsync();
        Assert.False(channel.IsCongested);

        // What is on its way counts as well as what has gathered behind it.
        Send(channel);
        Assert.True(channel.IsCongested);
        Assert.Equal(0, told.CurrentCount);

        stream.Go();
        Assert.True(await told.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken));
        Assert.False(channel.IsCongested);
        await stream.WritingAsync();
        stream.Go();
        await channel.DisposeAsync().Within();

        // The end of the connection is told as well.
        Assert.Equal(1, told.CurrentCount);
    }

    [Fact]
    public async Task Congestion_WhenTheConnectionBreaks_IsOver()
    {
        var stream = new SlowStream();
        var told = new SemaphoreSlim(0);
        await using var channel = new FrameChannel(stream, 2 * Half, static () => { }, () => told.Release());
        channel.Start();
        Send(channel);
        Send(channel);
        await stream.WritingAsync();
        Assert.True(channel.IsCongested);

        stream.Break();

        Assert.True(await told.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken));
        Assert.False(channel.IsCongested);
        Send(channel);
        Assert.False(channel.IsCongested);
    }

    [Fact] // S40
    public async Task TheEndOfTheOtherSide_IsSeenWhenAllIsRead()
    {
        (DuplexStream here, DuplexStream there) = DuplexStream.CreatePair();
        var readable = new SemaphoreSlim(0);
        await using var channel = new FrameChannel(here, 1024, () => readable.Release());
        await using (var other = new FrameChannel(there, 1024, static () => { }))
        {
            channel.Start();
            other.Start();
            other.Write(FrameType.Done, 7);
            other.Flush();
            Assert.True(await readable.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken));
            Assert.False(channel.Receiving.IsCompleted);
        }

        await there.DisposeAsync();
        await channel.Receiving.Within();

        Assert.True(channel.TryPeek(out Frame frame));
        Assert.Equal((FrameType.Done, 7), (frame.Type, frame.Number));
        Assert.False(channel.HasEnded);
        channel.Advance();
        Assert.False(channel.TryPeek(out _));
        Assert.True(channel.HasEnded);
    }

    [Fact] // S27: a child in this process is ended by disposal of its streams under the pumps
    public async Task AStreamThatIsDisposedUnderThePumps_IsAnEnd_AndNoError()
    {
        (DuplexStream here, DuplexStream there) = DuplexStream.CreatePair();
        await using var channel = new FrameChannel(here, 1024, static () => { });
        channel.Start();

        await here.DisposeAsync();
        channel.Write(FrameType.Done, 7);
        channel.Flush();
        await there.DisposeAsync();

        await channel.Receiving.Within();
        Assert.False(channel.TryPeek(out _));
        Assert.True(channel.HasEnded);
    }

    [Fact]
    public async Task ACallbackThatThrows_EndsTheConnection_AndIsToldAtItsDisposal()
    {
        (DuplexStream here, DuplexStream there) = DuplexStream.CreatePair();
        bool hasThrown = false;
        var channel = new FrameChannel(here, 1024, () =>
        {
            if (hasThrown)
                return;
            hasThrown = true;
            throw new FormatException("callback");
        });
        channel.Start();
        await there.WriteAsync(new byte[] { 1 }, TestContext.Current.CancellationToken);
        await there.FlushAsync(TestContext.Current.CancellationToken);

        await Assert.ThrowsAsync<FormatException>(() => channel.Receiving.Within());

        Assert.False(channel.TryPeek(out _));
        Assert.True(channel.HasEnded);
        await Assert.ThrowsAsync<FormatException>(() => channel.DisposeAsync().Within());
        await there.DisposeAsync();
    }

    [Fact] // S38, S40: the limit is one of items
    public async Task ARecord_LongerThanAnItemMayBe_Passes()
    {
        (DuplexStream here, DuplexStream there) = DuplexStream.CreatePair();
        var readable = new SemaphoreSlim(0);
        await using var channel = new FrameChannel(here, 1024, () => readable.Release());
        await using var other = new FrameChannel(there, 1024, static () => { });
        channel.Start();
        other.Start();

        other.Write(FrameType.Failed, 7, new byte[FrameFormat.MaxControl]);
        other.Flush();

        Frame frame;
        while (!channel.TryPeek(out frame))
            Assert.True(await readable.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken));
        Assert.Equal((FrameType.Failed, FrameFormat.MaxControl), (frame.Type, frame.Payload.Length));
    }

    /// <summary>More than half of what makes a connection congested, in one burst.</summary>
    private static void Send(FrameChannel channel)
    {
        channel.Write(FrameType.Item, 1, new byte[Half]);
        channel.Flush();
    }

    /// <summary>Takes nothing until it is told to, and never has anything to read.</summary>
    private sealed class SlowStream : Stream
    {
        private readonly SemaphoreSlim _writing = new(0);
        private readonly SemaphoreSlim _go = new(0);
        private bool _isBroken;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        /// <summary>Waits until a burst is all given, and is held.</summary>
        public async Task WritingAsync() => Assert.True(await _writing.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken));

        /// <summary>Lets one burst go.</summary>
        public void Go() => _go.Release();

        public void Break()
        {
            _isBroken = true;
            Go();
        }

        public override async Task FlushAsync(CancellationToken cancellationToken)
        {
            _writing.Release();
            await _go.WaitAsync(cancellationToken);
            if (_isBroken)
                throw new IOException("broken");
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => default;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await Task.Delay(Timeout.Infinite, cancellationToken);
            return 0;
        }

        public override void Flush() => throw new NotSupportedException();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
