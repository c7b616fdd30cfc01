using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>A connection that is a socket, and has threads of its own.</summary>
public sealed class SocketChannelTests
{
    private const int Long = 700 * 1024;

    public static TheoryData<ServedByName> All => [.. Enum.GetValues<ServedByName>()];

    [Theory]
    [MemberData(nameof(All))]
    public async Task Frames_KeepTheirOrder_AlsoBeyondWhatTheConnectionHolds(ServedByName servedBy)
    {
        await using var pair = SocketPair.Connect();
        await using var here = new FrameChannel(pair.Here, Long, static () => { }, servedBy: (ServedBy)servedBy);
        here.Start();
        for (int i = 1; i <= 30; i++)
        {
            here.Write(FrameType.Item, i, new byte[i % 3 == 0 ? Long : i]);
            here.Flush();
        }

        Assert.True(here.IsCongested);
        await using var reader = new Reader(pair.There, servedBy);
        for (int i = 1; i <= 30; i++)
        {
            (long number, int length) = await reader.NextAsync();
            Assert.Equal((i, i % 3 == 0 ? Long : i), (number, length));
        }

        await Waiting.UntilAsync(() => !here.IsCongested, "all was sent");
    }

    [Theory]
    [MemberData(nameof(All))]
    public async Task ACongestionThatEnds_IsTold(ServedByName servedBy)
    {
        await using var pair = SocketPair.Connect();
        var told = new SemaphoreSlim(0);
        await using var here = new FrameChannel(pair.Here, Long, static () => { }, () => told.Release(), (ServedBy)servedBy);
        here.Start();
        for (int i = 1; i <= 8; i++)
            here.Write(FrameType.Item, i, new byte[Long]);
        here.Flush();
        Assert.True(here.IsCongested);
        Assert.Equal(0, told.CurrentCount);

        await using var reader = new Reader(pair.There, servedBy);
        for (int i = 1; i <= 8; i++)
            await reader.NextAsync();

        Assert.True(await told.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken));
        Assert.False(here.IsCongested);
    }

    [Theory]
    [MemberData(nameof(All))]
    public async Task Disposal_EndsWhoReceives_AndWhoWaitsForRoom(ServedByName servedBy)
    {
        await using var pair = SocketPair.Connect();
        var told = new SemaphoreSlim(0);
        var here = new FrameChannel(pair.Here, Long, static () => { }, () => told.Release(), (ServedBy)servedBy);
        here.Start();
        for (int i = 1; i <= 8; i++)
            here.Write(FrameType.Item, i, new byte[Long]);
        here.Flush();

        await here.DisposeAsync().Within();

        Assert.True(here.Receiving.IsCompletedSuccessfully);
        Assert.False(here.IsCongested);

        // By the sender that was ended, by the disposal, or by both.
        Assert.InRange(told.CurrentCount, 1, 2);
    }

    [Theory]
    [MemberData(nameof(All))]
    public async Task TheEndOfTheOtherSide_IsSeenWhenAllIsRead(ServedByName servedBy)
    {
        await using var pair = SocketPair.Connect();
        await using (var there = new FrameChannel(pair.There, Long, static () => { }, servedBy: (ServedBy)servedBy))
        {
            there.Start();
            there.Write(FrameType.Done, 7);
            there.Flush();
        }

        await pair.There.DisposeAsync();
        await using var reader = new Reader(pair.Here, servedBy);

        Assert.Equal((7, 0), await reader.NextAsync());
        await reader.Channel.Receiving.Within();
        Assert.False(reader.Channel.TryPeek(out _));
        Assert.True(reader.Channel.HasEnded);
    }

    [Theory]
    [MemberData(nameof(All))]
    public async Task ACallbackThatThrows_EndsTheConnection_AndIsToldAtItsDisposal(ServedByName servedBy)
    {
        await using var pair = SocketPair.Connect();
        bool hasThrown = false;
        var here = new FrameChannel(pair.Here, 1024, () =>
        {
            if (hasThrown)
                return;
            hasThrown = true;
            throw new FormatException("callback");
        }, servedBy: (ServedBy)servedBy);
        here.Start();

        pair.There.Write([1]);

        await Assert.ThrowsAsync<FormatException>(() => here.Receiving.Within());
        Assert.False(here.TryPeek(out _));
        Assert.True(here.HasEnded);
        await Assert.ThrowsAsync<FormatException>(() => here.DisposeAsync().Within());
    }

    [Theory] // S36
    [MemberData(nameof(All))]
    public async Task WhatNobodyFlushes_GoesOutSoon(ServedByName servedBy)
    {
        await using var pair = SocketPair.Connect();
        await using var here = new FrameChannel(pair.Here, 1024, static () => { }, servedBy: (ServedBy)servedBy);
        await using var reader = new Reader(pair.There, servedBy);
        for (int i = 1; i <= 3; i++)
        {
            here.Write(FrameType.Done, i);
            here.FlushSoon();
            Assert.Equal((i, 0), await reader.NextAsync());
        }

        // Results that gather need not be told of.
        for (int i = 4; i <= 6; i++)
        {
            AddResult(here, i, length: i);
            Assert.Equal((i, i), await reader.NextAsync());
            Assert.Equal((i, 0), await reader.NextAsync());
        }
    }

    [Fact] // S9: what an item made comes before what is said later, and after what was said before
    public async Task ResultsThatGather_KeepTheirPlaceAmongTheFrames()
    {
        await using var pair = SocketPair.Connect();
        await using var here = new FrameChannel(pair.Here, 1024, static () => { }, servedBy: ServedBy.ThreadOfReader);
        await using var reader = new Reader(pair.There, ServedByName.ThreadOfReader);
        AddResult(here, 1, length: 10);
        AddResult(here, 2, length: 20);
        here.Write(FrameType.StatusMark, 100);
        AddResult(here, 3, length: 30);
        here.Write(FrameType.Failed, 4);
        AddResult(here, 5, length: 50);
        AddResult(here, 9, length: 90);
        here.Flush();

        List<(long, int)> seen = [];
        for (int i = 0; i < 12; i++)
            seen.Add(await reader.NextAsync());

        Assert.Equal([(1, 10), (1, 0), (2, 20), (2, 0), (100, 0), (3, 30), (3, 0), (4, 0), (5, 50), (5, 0), (9, 90), (9, 0)], seen);
    }

    private static void AddResult(FrameChannel channel, long number, int length)
    {
        channel.RoomForPacked(number)[..length].Clear();
        channel.AddPacked(length);
    }

    /// <summary><see cref="ServedBy"/>, as a test may show it.</summary>
    public enum ServedByName
    {
        Pool,
        OwnThreads,
        OwnThreadsWithTurns,
        ThreadOfReader,
    }

    /// <summary>Reads on a stream of its own, when it is told that there is something.</summary>
    private sealed class Reader : IAsyncDisposable
    {
        private readonly SemaphoreSlim _readable = new(0);

        public Reader(Stream stream, ServedByName servedBy)
        {
            Channel = new FrameChannel(stream, Long, () => _readable.Release(), servedBy: (ServedBy)servedBy);
            Channel.Start();
        }

        public FrameChannel Channel { get; }

        public async Task<(long Number, int Length)> NextAsync()
        {
            Frame frame;
            while (!Channel.TryPeek(out frame))
                Assert.True(await _readable.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken));
            Channel.Advance();
            return (frame.Number, (int)frame.Payload.Length);
        }

        public ValueTask DisposeAsync() => Channel.DisposeAsync();
    }
}
