using System.Buffers;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>The frame parser: what was written is read again, and nothing else does harm (S40).</summary>
public sealed class FrameTests
{
    private const int MaxPayload = 4096;

    [Theory]
    [InlineData(0, 0xFF)]
    [InlineData(2, 0x7F)]
    [InlineData(3, 0x00)]
    [InlineData(3, 0xFE)]
    [InlineData(11, 0xFF)]
    [InlineData(12, 0xFF)]
    public void Header_WithAWrongField_IsAViolation(int offset, byte value)
    {
        byte[] stream = Write([(FrameType.Item, new byte[10], 1)]);
        stream[offset] = value;

        Assert.Throws<ProtocolViolationException>(() => FrameFormat.Read(stream, MaxPayload, 0));
    }

    [Fact]
    public void APack_ThatIsEmptyOrCutOff_IsNotReadBeyondItsEnd()
    {
        byte[] payload = PackPayload();
        int[] ends = [4, 9, 15, 22, 30];
        Assert.Equal(payload.Length, ends[^1]);
        Assert.Throws<ProtocolViolationException>(() => Take([]));

        // Cut behind an item, it is a pack with less in it.
        for (int length = 1; length <= payload.Length; length++)
            Assert.Equal(ends.Contains(length), Take(payload[..length]));

        static bool Take(byte[] payload)
        {
            var pack = new FramePack(new FrameHeader(FrameType.PackedItems, 0, 1, FrameFlags.None, 7, payload.Length), payload, 0);
            for (int i = 0; !pack.IsEmpty; i++)
            {
                Assert.Equal(7 + i, pack.Number);
                if (!pack.TryTake(out int at, out int length))
                    return false;
                Assert.Equal(Enumerable.Repeat((byte)i, i), payload[at..(at + length)]);
            }

            return true;
        }
    }

    [Fact] // one million mutated frames: a frame, a violation or a wait; no other exception, no endless loop, no memory beyond the bytes given
    public void MutatedFrames_AMillion_DoNoHarm()
    {
        var random = new Random(77);
        byte[][] seeds =
        [
            Write([(FrameType.Item, Bytes(random, 64), 1)]),
            Write([(FrameType.PackedItems, PackPayload(), 1)]),
            Write([(FrameType.PackedResults, PackPayload(), 1)]),
            Write([(FrameType.Failed, ErrorPayload(), 2)]),
            Write([(FrameType.Log, LogPayload(), 0)]),
            Write([(FrameType.End, EndPayload(), 0)]),
            Write([(FrameType.Status, StatusPayload(), 3)]),
        ];
        long before = GC.GetAllocatedBytesForCurrentThread();
        int frames = 0, violations = 0, waits = 0;
        for (int i = 0; i < 1_000_000; i++)
        {
            byte[] seed = seeds[i % seeds.Length];
            byte[] mutant = ArrayPool<byte>.Shared.Rent(seed.Length);
            seed.CopyTo(mutant, 0);
            for (int flips = random.Next(1, 4); flips > 0; flips--)
                mutant[random.Next(seed.Length)] = (byte)random.Next(256);
            int length = random.Next(8) == 0 ? random.Next(seed.Length) : seed.Length;
            try
            {
                FrameHeader? header = length < FrameFormat.HeaderLength ? null : FrameFormat.Read(mutant, MaxPayload, 0);
                if (length - FrameFormat.HeaderLength >= header?.Length)
                {
                    frames++;
                    Parse(header.Value, mutant);
                }
                else
                {
                    waits++;
                }
            }
            catch (ProtocolViolationException)
            {
                violations++;
            }

            ArrayPool<byte>.Shared.Return(mutant);
        }

        Assert.True(frames > 10_000 && violations > 10_000 && waits > 10_000, $"{frames} frames, {violations} violations, {waits} waits");

        // A parsed record takes a few kilobytes, most of it exceptions; far from what a believed length could ask for.
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 1_000_000, 0, 8 * 1024);
    }

    private static void Parse(FrameHeader header, byte[] frame)
    {
        var reader = new FieldReader(new ReadOnlySequence<byte>(frame, FrameFormat.HeaderLength, header.Length));
        switch (header.Type)
        {
            case FrameType.Failed:
                ErrorRecord.ReadFrom(ref reader).ToException();
                break;
            case FrameType.PackedItems or FrameType.PackedResults:
                var pack = new FramePack(header, frame, FrameFormat.HeaderLength);
                while (!pack.IsEmpty && pack.TryTake(out int at, out int length))
                    Assert.True(at + length <= FrameFormat.HeaderLength + header.Length, "A payload lies in its pack.");

                break;
            case FrameType.Log:
                LogRecord.ReadFrom(ref reader);
                break;
            case FrameType.Status:
                StatusRecord.ReadFrom(ref reader);
                break;
            case FrameType.End:
                EndRecord.ReadFrom(ref reader);
                break;
            case FrameType.Start:
                StartRecord.ReadFrom(ref reader);
                break;
        }
    }

    private static byte[] PackPayload()
    {
        var packer = new FramePacker();
        for (int i = 0; i < 5; i++)
        {
            packer.Room[..i].Fill((byte)i);
            packer.Add(i);
        }

        return packer.Payload.ToArray();
    }

    private static byte[] ErrorPayload() => Payload(static w => ErrorRecord.Of(new InvalidOperationException("outer", new FormatException("inner"))).WriteTo(w));

    private static byte[] LogPayload() => Payload(static w => new LogRecord
    {
        Level = Microsoft.Extensions.Logging.LogLevel.Warning,
        Category = "category",
        Time = 7,
        Message = "text 1",
        Template = "text {A}",
        Properties = [new("A", 1), new("B", 2.5m), new("C", DateTime.UnixEpoch), new("D", Guid.Empty), new("E", "text")],
        ScopeProperties = [new("F", TimeSpan.Zero), new("G", DateTimeOffset.UnixEpoch), new("H", null), new("I", true), new("J", 1L), new("K", 1.5)],
        ScopeTexts = ["scope"],
        Error = ErrorRecord.Of(new FormatException("failed")),
        ErrorText = "failed",
        CallSite = new CallSite("class", "method", "file", 1),
    }.WriteTo(w, LogRecord.MaxText));

    private static byte[] StatusPayload() => Payload(static w => new StatusRecord(7, 1, new ReadOnlySequence<byte>(new byte[40])).WriteTo(w));

    private static byte[] EndPayload() => Payload(static w => new EndRecord(RunState.Faulted, ErrorRecord.Of(new FormatException("cause"))).WriteTo(w));

    private static byte[] Payload(Action<FieldWriter> write)
    {
        var fields = new FieldWriter();
        write(fields);
        return fields.Written.ToArray();
    }

    private static byte[] Write(IReadOnlyList<(FrameType Type, byte[] Payload, long Number)> frames)
    {
        var buffer = new ArrayBufferWriter<byte>();
        uint sequence = 0;
        foreach ((FrameType type, byte[] payload, long number) in frames)
        {
            FrameFormat.WriteHeader(buffer.GetSpan(FrameFormat.HeaderLength), type, 0, 1, FrameFlags.None, payload.Length, sequence++, number);
            buffer.Advance(FrameFormat.HeaderLength);
            buffer.Write(payload);
        }

        return buffer.WrittenSpan.ToArray();
    }

    private static byte[] Bytes(Random random, int length)
    {
        var bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }
}
