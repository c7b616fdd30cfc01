using System.Buffers;
using System.Text;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What was sent is read again, however it is cut on its way, and whoever reads it when.</summary>
public sealed class FrameReceiverTests
{
    /// <summary>Payloads around the lengths at which a receiver takes another array, and one that it does not believe at once.</summary>
    private static readonly int[] s_longOnes = [(128 * 1024) - 24, (128 * 1024) - 23, 200_000, 1_000_000, 17 * 1024 * 1024];

    [Theory]
    [InlineData(1, 300, false)]
    [InlineData(40, 3000, false)]
    [InlineData(5000, 3000, true)]
    [InlineData(100_000, 3000, true)]
    [InlineData(int.MaxValue, 3000, true)]
    public async Task Frames_CutAnywhere_AreReadAsWritten(int mostAtOnce, int count, bool withLongOnes)
    {
        var random = new Random(20_260);
        FrameType[] types = [.. Enum.GetValues<FrameType>().Where(static t => t is not (FrameType.None or FrameType.LastResult or FrameType.PackedItems or FrameType.PackedResults))];
        List<byte[]> payloads = [.. Enumerable.Range(0, count).Select(_ => Bytes(random, random.Next(0, 300)))];
        foreach (int length in withLongOnes ? s_longOnes : [])
            payloads.Insert(random.Next(payloads.Count), Bytes(random, length));
        var stream = new ArrayBufferWriter<byte>();
        for (int i = 0; i < payloads.Count; i++)
            Write(stream, types[i % types.Length], (uint)i, payloads[i], number: i);
        await using var reader = new Reader(new CutStream(stream.WrittenMemory, random, mostAtOnce));

        for (int i = 0; i < payloads.Count; i++)
        {
            Frame frame = await reader.NextAsync();

            Assert.Equal((types[i % types.Length], i), (frame.Type, frame.Number));
            Assert.True(payloads[i].AsSpan().SequenceEqual(frame.Payload.ToArray()), $"The payload of frame {i} has changed.");
        }

        await reader.EndAsync();
    }

    [Fact] // S40
    public async Task AFrameThatIsCutOff_IsNone()
    {
        var stream = new ArrayBufferWriter<byte>();
        Write(stream, FrameType.Item, 0, new byte[100], number: 1);
        for (int length = 0; length < stream.WrittenCount; length++)
        {
            await using var reader = new Reader(new CutStream(stream.WrittenMemory[..length], new Random(length), most: 30));

            await reader.EndAsync();
        }
    }

    [Fact]
    public async Task TheLastResult_IsFollowedByTheEndOfItsItem()
    {
        var stream = new ArrayBufferWriter<byte>();
        Write(stream, FrameType.LastResult, 0, [1, 2, 3], number: 7);
        Write(stream, FrameType.Result, 1, [4], number: 8);
        await using var reader = new Reader(new CutStream(stream.WrittenMemory, new Random(1), most: 1000));

        Frame result = await reader.NextAsync();
        Assert.Equal((FrameType.Result, 7), (result.Type, result.Number));
        Assert.Equal([1, 2, 3], result.Payload.ToArray());
        Frame done = await reader.NextAsync();
        Assert.Equal((FrameType.Done, 7, 0), (done.Type, done.Number, done.Payload.Length));
        Assert.Equal(8, (await reader.NextAsync()).Number);
        await reader.EndAsync();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(1000)]
    public async Task Packs_AreReadAsTheirItems_AndAsTheirResultsWithTheEnds(int mostAtOnce)
    {
        var stream = new ArrayBufferWriter<byte>();
        Write(stream, FrameType.PackedItems, 0, Pack("one", "", "three"), number: 7);
        Write(stream, FrameType.PackedResults, 1, Pack("four", "five"), number: 10);
        Write(stream, FrameType.Item, 2, "six"u8.ToArray(), number: 12);
        await using var reader = new Reader(new CutStream(stream.WrittenMemory, new Random(1), mostAtOnce));

        List<string> read = [];
        for (int i = 0; i < 8; i++)
        {
            Frame frame = await reader.NextAsync();
            read.Add($"{frame.Type} {frame.Number} {Encoding.UTF8.GetString(frame.Payload)}");
        }

        Assert.Equal(["Item 7 one", "Item 8 ", "Item 9 three", "Result 10 four", "Done 10 ", "Result 11 five", "Done 11 ", "Item 12 six"], read);
        await reader.EndAsync();
    }

    [Theory] // S40
    [InlineData(3)]
    [InlineData(-1)]
    public async Task APack_WhoseItemIsLongerThanIt_IsAViolation(int length)
    {
        var stream = new ArrayBufferWriter<byte>();
        byte[] payload = Pack("ab");
        BitConverter.TryWriteBytes(payload, length);
        Write(stream, FrameType.PackedItems, 0, payload, number: 1);
        await using var reader = new Reader(new CutStream(stream.WrittenMemory, new Random(1), most: 1000));

        await Assert.ThrowsAsync<ProtocolViolationException>(reader.NextAsync);
    }

    [Theory] // S40: read one by one, its items take many times its memory
    [InlineData(FramePack.MaxLength, 0)]
    [InlineData(FramePack.MaxLength + 1, 1)]
    public async Task APack_ThatIsTooLong_OrHasNoNumber_IsAViolation(int length, long number)
    {
        var stream = new ArrayBufferWriter<byte>();
        Write(stream, FrameType.PackedResults, 0, new byte[length], number);
        Write(stream, FrameType.Item, 1, [1], number: 1);
        await using var reader = new Reader(new CutStream(stream.WrittenMemory, new Random(1), most: 100_000));

        // Nobody gets past it.
        await Assert.ThrowsAsync<ProtocolViolationException>(reader.NextAsync);
        await Assert.ThrowsAsync<ProtocolViolationException>(reader.NextAsync);
    }

    [Fact]
    public async Task APack_CanBeReadInPartAtOnce_AndTheRestOneByOne()
    {
        var stream = new ArrayBufferWriter<byte>();
        Write(stream, FrameType.PackedResults, 0, Pack("a", "b", "c", "d"), number: 1);
        Write(stream, FrameType.Item, 1, "e"u8.ToArray(), number: 5);
        await using var reader = new Reader(new CutStream(stream.WrittenMemory, new Random(1), most: 1000));

        // Of the first one what comes next is its end, which is of no pack.
        Assert.Equal(1, (await reader.NextAsync()).Number);
        Assert.False((await reader.PeekAsync()).TryPeekPack(out _));
        Assert.Equal(FrameType.Done, (await reader.NextAsync()).Type);

        FrameReceiver receiver = await reader.PeekAsync();
        Assert.True(receiver.TryPeekPack(out FramePack pack));
        Assert.Equal(2, pack.Number);
        Assert.True(pack.TryTake(out _, out _) && pack.TryTake(out _, out _));
        receiver.Advance(pack);

        Frame fourth = await reader.NextAsync();
        Assert.Equal((FrameType.Result, 4), (fourth.Type, fourth.Number));
        Assert.Equal(FrameType.Done, (await reader.NextAsync()).Type);
        Frame fifth = await reader.NextAsync();
        Assert.Equal((FrameType.Item, 5), (fifth.Type, fifth.Number));
        await reader.EndAsync();
    }

    [Fact] // S40: the announced length is believed only so far
    public async Task AnEnormousLength_TakesNoEnormousMemory()
    {
        var stream = new ArrayBufferWriter<byte>();
        FrameFormat.WriteHeader(stream.GetSpan(FrameFormat.HeaderLength), FrameType.Item, 0, 1, FrameFlags.None, FrameFormat.MaxData, 0, 1);
        stream.Advance(FrameFormat.HeaderLength);
        stream.Write(new byte[200_000]);
        long before = GC.GetTotalAllocatedBytes();
        await using var reader = new Reader(new CutStream(stream.WrittenMemory, new Random(1), most: 50_000), FrameFormat.MaxData);

        await reader.EndAsync();

        Assert.InRange(GC.GetTotalAllocatedBytes() - before, 0, 256 * 1024 * 1024);
    }

    private static void Write(ArrayBufferWriter<byte> stream, FrameType type, uint sequence, byte[] payload, long number)
    {
        FrameFormat.WriteHeader(stream.GetSpan(FrameFormat.HeaderLength), type, 0, 1, FrameFlags.None, payload.Length, sequence, number);
        stream.Advance(FrameFormat.HeaderLength);
        stream.Write(payload);
    }

    private static byte[] Pack(params string[] payloads)
    {
        var packer = new FramePacker();
        foreach (string payload in payloads)
            packer.Add(Encoding.UTF8.GetBytes(payload, packer.Room));
        return packer.Payload.ToArray();
    }

    private static byte[] Bytes(Random random, int length)
    {
        var bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }

    /// <summary>Reads on a stream of its own, when it is told that there is something.</summary>
    private sealed class Reader : IAsyncDisposable
    {
        private readonly SemaphoreSlim _readable = new(0);
        private readonly FrameReceiver _receiver;

        public Reader(Stream stream, int maxPayload = 32 * 1024 * 1024)
        {
            _receiver = new FrameReceiver(stream, socket: null, maxPayload, () => _readable.Release(), ServedBy.Pool);
            _receiver.Start();
        }

        /// <summary>The next frame; its payload until the one after it.</summary>
        public async Task<Frame> NextAsync()
        {
            FrameReceiver receiver = await PeekAsync();
            Assert.True(receiver.TryPeek(out Frame frame));
            receiver.Advance();
            return frame;
        }

        /// <summary>Waits for the next frame and leaves it there.</summary>
        public async Task<FrameReceiver> PeekAsync()
        {
            while (!_receiver.TryPeek(out _))
            {
                Assert.False(_receiver.HasEnded);
                Assert.True(await _readable.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken));
            }

            return _receiver;
        }

        public async Task EndAsync()
        {
            while (!_receiver.HasEnded)
            {
                Assert.False(_receiver.TryPeek(out _));
                if (!_receiver.HasEnded)
                    Assert.True(await _readable.WaitAsync(Waiting.Limit, TestContext.Current.CancellationToken));
            }
        }

        public ValueTask DisposeAsync() => _receiver.DisposeAsync();
    }

    /// <summary>Gives so many bytes at once at most, then ends.</summary>
    private sealed class CutStream(ReadOnlyMemory<byte> bytes, Random random, int most) : Stream
    {
        private int _at;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Assert.True(buffer.Length > 0, "There is room for what is received.");
            if (random.Next(4) == 0)
                await Task.Yield();
            int count = Math.Min(Math.Min(buffer.Length, bytes.Length - _at), random.Next(1, Math.Max(2, most)));
            bytes.Slice(_at, count).CopyTo(buffer);
            _at += count;
            return count;
        }

        public override void Flush() => throw new NotSupportedException();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
