using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Results that gather without a lock: each is taken once, in order, whoever takes when.</summary>
public sealed class ResultPackTests
{
    private const int Results = 200_000;

    [Fact]
    public async Task WhoTakesAtAnyMoment_GetsEachOnce_InOrder()
    {
        var pack = new ResultPack();
        object gate = new();
        long expected = 1;
        bool isOver = false;
        pack.Restart(1);
        Task taking = PumpThread.RunAsync(
            () =>
            {
                while (!Volatile.Read(ref isOver))
                {
                    lock (gate)
                        Take();
                }
            },
            "test");

        var random = new Random(1);
        for (long number = 1; number <= Results; number++)
        {
            if (!pack.Takes(number))
            {
                lock (gate)
                {
                    Take();
                    pack.Restart(number);
                }
            }

            int length = sizeof(long) + random.Next(100);
            BitConverter.TryWriteBytes(pack.Room, number);
            pack.Room[sizeof(long)..length].Fill((byte)number);
            pack.Add(length);
        }

        Volatile.Write(ref isOver, true);
        await taking.Within();
        Take();
        Assert.Equal(Results + 1, expected);
        Assert.True(pack.IsEmpty);

        void Take()
        {
            ReadOnlySpan<byte> taken = pack.Take(out long first);
            if (taken.IsEmpty)
                return;
            Assert.Equal(expected, first);
            for (int at = 0; at < taken.Length; expected++)
            {
                int length = BitConverter.ToInt32(taken[at..]);
                ReadOnlySpan<byte> payload = taken.Slice(at + FramePack.LengthBytes, length);
                Assert.Equal(expected, BitConverter.ToInt64(payload));
                Assert.False(payload[sizeof(long)..].ContainsAnyExcept((byte)expected));
                at += FramePack.LengthBytes + length;
            }
        }
    }

    [Fact]
    public void OnlyTheNextNumber_IsTaken_AndOnlyWhileThereIsRoom()
    {
        var pack = new ResultPack();
        pack.Restart(7);
        Assert.False(pack.Takes(8));
        int count = 0;
        for (; pack.Takes(7 + count); count++)
        {
            Assert.Equal(FramePack.LongestPayload, pack.Room.Length);
            pack.Add(FramePack.LongestPayload);
        }

        Assert.InRange(count, 2, FramePack.MaxLength / FramePack.LongestPayload);
        Assert.Equal(count * (FramePack.LengthBytes + FramePack.LongestPayload), pack.Take(out long first).Length);
        Assert.Equal(7, first);
        pack.Restart(100);
        Assert.True(pack.Takes(100));
    }
}
