using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Worker;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Stages;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What a worker makes of short items that come in one frame: each is handled as if it had come alone, and what it makes goes out together.</summary>
public sealed class PackTests
{
    // The code of a worker is made by static factories, so what it shares with its test is static; each test makes it anew.
    private static Gate s_entered = new();
    private static Gate s_open = new();
    private static int s_begun;

    public PackTests() => (s_entered, s_open, s_begun) = (new Gate(), new Gate(), 0);

    [Fact]
    public async Task Results_ComePacked_InOrder()
    {
        await using WorkerParent parent = await StartAsync(static (x, _) => 10 * x);
        Assert.True(parent.TakesPacks);

        parent.SendPack(1, 1, 2, 3);

        for (int i = 1; i <= 3; i++)
            await ReadPackedAsync(parent, i, 10 * i);
        parent.SendItem(4, 4);
        Assert.Equal(40, await parent.ReadResultAsync<int>());
        Assert.Equal(4, (await parent.ReadAsync(FrameType.Done)).Number);
    }

    [Theory]
    [InlineData(1, false, false)]
    [InlineData(0, true, false)]
    [InlineData(0, false, true)]
    public async Task CodeWhoseItemsAreTriedAgainOrTimed_OrThatHasAThread_TakesNone(int retries, bool tellsItems, bool ownThread)
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(Record(static (x, _) => x) with { Retries = retries, TellsItems = tellsItems, OwnThread = ownThread });

        Assert.False(parent.TakesPacks);
    }

    [Fact] // S36: what is done is known, whatever happens next
    public async Task Results_GoOutSoon_ThoughTheNextItemTakesLong()
    {
        await using WorkerParent parent = await StartAsync(static (x, _) =>
        {
            if (x != 3)
                return x;
            s_entered.Open();
            s_open.Block();
            return x;
        });

        parent.SendPack(1, 1, 2, 3, 4);
        await s_entered.WaitAsync();

        await ReadPackedAsync(parent, 1, 1);
        await ReadPackedAsync(parent, 2, 2);
        s_open.Open();
        await ReadPackedAsync(parent, 3, 3);
        await ReadPackedAsync(parent, 4, 4);
    }

    [Theory] // S35
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnItemThatFails_FailsAlone_AndWaitsForItsVerdict(bool faultsAtError)
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(Record(static (x, _) => Interlocked.Increment(ref s_begun) == 2 ? throw new FormatException("two") : x) with { FaultsAtError = faultsAtError });

        parent.SendPack(1, 1, 2, 3);

        await ReadPackedAsync(parent, 1, 1);
        WorkerParent.Heard failed = await parent.ReadAsync(FrameType.Failed);
        Assert.Equal((2, 1, "two"), (failed.Number, failed.Attempt, failed.Error.Message));
        if (faultsAtError)
        {
            Assert.Equal(2, (await parent.HearAsync(FrameType.Failing)).Number);
            await parent.UntilHeardAsync();
            Assert.Equal(2, Volatile.Read(ref s_begun));
            parent.Say(FrameType.Proceed, 2);
        }

        await ReadPackedAsync(parent, 3, 3);
    }

    [Fact] // S38
    public async Task AnItemThatCannotBeRead_FailsAlone()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(Record(static (x, _) => x) with { FaultsAtError = false });
        var packer = new FramePacker();
        foreach ((int number, int length) in ((int, int)[])[(1, 4), (2, 3), (3, 4)])
        {
            MemoryMarshal.Write(packer.Room, number);
            packer.Add(length);
        }

        parent.SendPack(1, packer);

        await ReadPackedAsync(parent, 1, 1);
        WorkerParent.Heard failed = await parent.ReadAsync(FrameType.Failed);
        Assert.Equal((2, FrameFlags.NotCarried), (failed.Number, failed.Flags));
        await ReadPackedAsync(parent, 3, 3);
    }

    [Fact]
    public async Task AResultThatIsLong_GoesOutAlone_InItsPlace()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(Record<string>(static (x, _) => x == 2 ? new string('x', 5_000) : $"{x}"));

        parent.SendPack(1, 1, 2, 3);

        WorkerParent.Heard first = await parent.ReadAsync(FrameType.Result);
        Assert.Equal((1, true), (first.Number, first.IsPacked));
        await parent.ReadAsync(FrameType.Done);
        WorkerParent.Heard second = await parent.ReadAsync(FrameType.Result);
        Assert.Equal((2, false, true), (second.Number, second.IsPacked, second.Payload.Length > 5_000));
        await parent.ReadAsync(FrameType.Done);
        Assert.Equal(3, (await parent.ReadAsync(FrameType.Result)).Number);
        await parent.ReadAsync(FrameType.Done);
    }

    [Fact] // S37
    public async Task AResultThatIsTooLongToTravel_FailsItsItem()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(Record<string>(static (x, _) => new string('x', x)) with { FaultsAtError = false, MaxPayload = 100 });

        parent.SendPack(1, 1, 90, 2);

        Assert.Equal(1, (await parent.ReadAsync(FrameType.Result)).Number);
        await parent.ReadAsync(FrameType.Done);
        WorkerParent.Heard failed = await parent.ReadAsync(FrameType.Failed);
        Assert.Equal((2, FrameFlags.NotCarried), (failed.Number, failed.Flags));
        Assert.Contains("MaxItemSize", failed.Error.Message, StringComparison.Ordinal);
        Assert.Equal(3, (await parent.ReadAsync(FrameType.Result)).Number);
        await parent.ReadAsync(FrameType.Done);
    }

    [Fact] // S34: no more outputs than are granted
    public async Task Credits_AreKept()
    {
        StartRecord record = Record(static (x, _) =>
        {
            if (Interlocked.Increment(ref s_begun) == 3)
                s_entered.Open();
            return x;
        });
        await using WorkerParent parent = await WorkerParent.StartAsync(record with { Credits = [2] });

        parent.SendPack(1, 1, 2, 3, 4, 5);
        await ReadPackedAsync(parent, 1, 1);
        await ReadPackedAsync(parent, 2, 2);

        // The third is handled, and waits with its result, which goes out alone.
        await s_entered.WaitAsync();
        await parent.UntilHeardAsync();
        Assert.Equal(3, Volatile.Read(ref s_begun));
        parent.Say(FrameType.Credit, 10);

        WorkerParent.Heard third = await parent.ReadAsync(FrameType.Result);
        Assert.Equal((3, false), (third.Number, third.IsPacked));
        Assert.Equal(3, (await parent.ReadAsync(FrameType.Done)).Number);
        await ReadPackedAsync(parent, 4, 4);
        await ReadPackedAsync(parent, 5, 5);
    }

    [Fact]
    public async Task CodeThatNeedsNoCredits_HasMoreThanAnyItemsTake()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(Record(static (x, _) => x) with { Credits = [StartRecord.NoCredits] });

        // As if it had made as many outputs already.
        parent.Say(FrameType.Credit, -StartRecord.NoCredits);
        await parent.UntilHeardAsync();
        parent.SendPack(1, 1, 2);

        await ReadPackedAsync(parent, 1, 1);
        await ReadPackedAsync(parent, 2, 2);
    }

    [Fact] // S34: what nobody takes is not made
    public async Task LongResults_WaitWhileTheConnectionIsCongested()
    {
        const int Items = 200, MostUnderWay = 20;
        StartRecord record = Record<string>(static (x, _) =>
        {
            Interlocked.Increment(ref s_begun);
            return new string('x', 100_000 + x);
        });
        await using WorkerParent parent = await WorkerParent.StartAsync(record with { Credits = [StartRecord.NoCredits] });

        parent.SendPack(1, [.. Enumerable.Range(1, Items)]);

        for (int i = 1; i <= Items; i++)
        {
            Assert.Equal(i, (await parent.ReadAsync(FrameType.Result)).Number);
            await parent.ReadAsync(FrameType.Done);
            Assert.InRange(Volatile.Read(ref s_begun), i, i + MostUnderWay);
        }
    }

    [Fact] // S38
    public async Task EachResult_IsWrittenOnce_HoweverLong()
    {
        await using WorkerParent parent = await WorkerParent.StartAsync(Record<string>(static (x, _) => new string('x', x)), static () => new OnceCodec());

        parent.SendPack(1, 10, 5_000, 100_000, 20);

        foreach (int length in (int[])[10, 5_000, 100_000, 20])
        {
            Assert.Equal(length + 1, (await parent.ReadAsync(FrameType.Result)).Payload.Length);
            await parent.ReadAsync(FrameType.Done);
        }

        Assert.Equal(4, Volatile.Read(ref s_begun));
    }

    [Fact] // S10
    public async Task Finish_LetsTheItemInWorkEnd_AndNoOtherBegin()
    {
        await using WorkerParent parent = await StartAsync(static (x, _) => Stop(x));

        parent.SendPack(1, 1, 2, 3);
        await s_entered.WaitAsync();
        parent.Say(FrameType.Finish);
        await parent.UntilHeardAsync();
        s_open.Open();

        await ReadPackedAsync(parent, 1, 1);
        await parent.ReadAsync(FrameType.Idle);
    }

    [Fact] // S36: for the search for the guilty one
    public async Task TheItemInWork_IsNoted()
    {
        var mark = new Mark();
        await using WorkerParent parent = await WorkerParent.StartAsync(Record(static (x, _) => x == 3 ? Stop(x) : x), mark: mark);

        parent.SendPack(5, 1, 2, 3, 4);
        await s_entered.WaitAsync();
        Assert.Equal(7, mark.Number);
        s_open.Open();

        for (int i = 1; i <= 4; i++)
            await ReadPackedAsync(parent, 4 + i, i);
        parent.Say(FrameType.Finish);
        await parent.ReadAsync(FrameType.Idle);
        Assert.Equal(0, mark.Number);
    }

    private static int Stop(int x)
    {
        s_entered.Open();
        s_open.Block();
        return x;
    }

    private static Task<WorkerParent> StartAsync(Func<int, CancellationToken, int> transform) => WorkerParent.StartAsync(Record(transform));

    private static StartRecord Record(Func<int, CancellationToken, int> transform) => Record<int>(transform);

    private static StartRecord Record<TOut>(Func<int, CancellationToken, TOut> transform) =>
        WorkerParent.Record(new Recipe<ItemHandler<int, TOut>>(HostedItems<int, TOut>.Make, static (code, _) => new TransformHandler<int, TOut>((Func<int, CancellationToken, TOut>)code!), transform));

    private static async Task ReadPackedAsync(WorkerParent parent, long number, int result)
    {
        WorkerParent.Heard heard = await parent.ReadAsync(FrameType.Result);
        Assert.Equal((number, true, result), (heard.Number, heard.IsPacked, MemoryMarshal.Read<int>(heard.Payload)));
        Assert.Equal(number, (await parent.ReadAsync(FrameType.Done)).Number);
    }

    /// <summary>Counts the values that it writes.</summary>
    private sealed class OnceCodec : IItemCodec
    {
        public bool CanCarry(Type type) => type == typeof(string);

        public void Write<T>(IBufferWriter<byte> target, T value)
        {
            Interlocked.Increment(ref s_begun);
            target.Write(Encoding.ASCII.GetBytes($"{value}."));
        }

        public T Read<T>(ReadOnlySequence<byte> source) => throw new NotSupportedException();
    }

    /// <summary>The item in work.</summary>
    private sealed class Mark : IWorkMark
    {
        private long _number;

        public long Number => Volatile.Read(ref _number);

        public void Begin(long number) => Volatile.Write(ref _number, number);

        public void End() => Volatile.Write(ref _number, 0);

        public void GiveUp(string reason) => throw new NotSupportedException(reason);
    }
}
