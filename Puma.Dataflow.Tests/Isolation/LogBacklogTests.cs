using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation;
using Puma.Dataflow.Logging.Forwarding;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What waits to be sent to the parent's log, and what is kept for when there is nobody left to send it.</summary>
public sealed class LogBacklogTests
{
    private readonly LogBacklog _backlog = new(100);
    private readonly long[] _dropped = new long[(int)LogLevel.None];
    private long _number;

    [Fact]
    public void Records_LeaveInTheOrderInWhichTheyCame_WhateverTheirLevels()
    {
        foreach (LogLevel level in (LogLevel[])[LogLevel.Error, LogLevel.Debug, LogLevel.Critical, LogLevel.Trace])
            Assert.True(TryAdd(level, 10));

        Assert.Equal([1, 2, 3, 4], TakeAll());
        Assert.True(_backlog.IsEmpty);
        Assert.False(_backlog.TryPeek(out _, out _));
    }

    [Fact]
    public void RoomIsMade_ByTheLowestLevelFirst_AndTheOldestOfIt()
    {
        Assert.True(TryAdd(LogLevel.Debug, 30));
        Assert.True(TryAdd(LogLevel.Trace, 30));
        Assert.True(TryAdd(LogLevel.Trace, 30));

        Assert.True(TryAdd(LogLevel.Information, 30));
        Assert.True(TryAdd(LogLevel.Error, 50));

        Assert.Equal((2, 1), (_dropped[(int)LogLevel.Trace], _dropped[(int)LogLevel.Debug]));
        Assert.Equal([4, 5], TakeAll());
    }

    [Fact]
    public void NothingIsDropped_ForARecordThatHasNoRoomEvenThen()
    {
        Assert.True(TryAdd(LogLevel.Debug, 40));
        Assert.True(TryAdd(LogLevel.Error, 60));

        Assert.False(TryAdd(LogLevel.Error, 50));
        Assert.False(TryAdd(LogLevel.Debug, 1));

        Assert.All(_dropped, static d => Assert.Equal(0, d));
        Assert.Equal([1, 2], TakeAll());
    }

    [Fact]
    public void ARecordLongerThanAllTheRoom_HasItAlone()
    {
        Assert.True(TryAdd(LogLevel.Debug, 40));

        Assert.True(TryAdd(LogLevel.Error, 1000));
        Assert.False(TryAdd(LogLevel.Error, 1));

        Assert.Equal(1, _dropped[(int)LogLevel.Debug]);
        Assert.Equal([2], TakeAll());
    }

    [Fact]
    public unsafe void TheRing_KeepsTheNewestRecordsWhole()
    {
        byte[] memory = new byte[1024];
        fixed (byte* start = memory)
        {
            var ring = new LogRing(start, memory.Length);
            for (byte number = 1; number <= 200; number++)
            {
                ring.Add(number, [.. Enumerable.Repeat(number, number % 50)]);

                IReadOnlyList<(long Number, byte[] Record)> kept = ring.ReadAfter(0);
                Assert.Equal(number, kept[^1].Number);
                Assert.Equal(Enumerable.Range((int)kept[0].Number, kept.Count), kept.Select(static k => (int)k.Number));
                Assert.All(kept, static k => Assert.Equal(Enumerable.Repeat((byte)k.Number, (int)k.Number % 50), k.Record));
                Assert.Empty(ring.ReadAfter(number));
            }

            Assert.InRange(ring.ReadAfter(0).Count, 15, 60);
            ring.Forget(ring.Add(201, [1, 2, 3]));
            ring.Add(202, [4]);
            Assert.Equal([200, 202], ring.ReadAfter(199).Select(static k => k.Number));
            ring.CountDropped(5);
            ring.CountDropped(5);
            Assert.Equal((0, 2), (ring.ReadDropped(4), ring.ReadDropped(5)));

            // A child may have written anywhere.
            new Random(1).NextBytes(memory);
            Assert.InRange(ring.ReadAfter(0).Count, 0, 1024);
        }
    }

    private bool TryAdd(LogLevel level, int length) => _backlog.TryAdd(++_number, level, new byte[length], (dropped, _) => _dropped[(int)dropped]++);

    private List<long> TakeAll()
    {
        List<long> numbers = [];
        while (_backlog.TryPeek(out long number, out _))
        {
            numbers.Add(number);
            _backlog.Dequeue();
        }

        return numbers;
    }
}
