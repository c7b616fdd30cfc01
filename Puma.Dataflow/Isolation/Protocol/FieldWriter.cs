using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>Writes the fields of a record, one after the other.</summary>
internal sealed class FieldWriter
{
    private readonly ArrayBufferWriter<byte> _buffer = new(256);

    public ReadOnlySpan<byte> Written => _buffer.WrittenSpan;

    public int Length => _buffer.WrittenCount;

    public void Bool(bool value) => Byte(value ? (byte)1 : (byte)0);

    public void Byte(byte value)
    {
        _buffer.GetSpan(1)[0] = value;
        _buffer.Advance(1);
    }

    public void Int(int value)
    {
        BinaryPrimitives.WriteInt32LittleEndian(_buffer.GetSpan(4), value);
        _buffer.Advance(4);
    }

    public void Long(long value)
    {
        BinaryPrimitives.WriteInt64LittleEndian(_buffer.GetSpan(8), value);
        _buffer.Advance(8);
    }

    /// <summary>Writes a text, or null; with a limit it is cut after the last character that fits into so many bytes.</summary>
    public void Text(string? value, int maxBytes = int.MaxValue)
    {
        if (value is null)
        {
            Int(-1);
            return;
        }

        // A UTF-16 unit takes at most three bytes.
        int room = (int)Math.Min(maxBytes, 3L * value.Length);
        Span<byte> target = _buffer.GetSpan(4 + room);
        Utf8.FromUtf16(value, target.Slice(4, room), out _, out int count);
        BinaryPrimitives.WriteInt32LittleEndian(target, count);
        _buffer.Advance(4 + count);
    }

    public void Bytes(ReadOnlySpan<byte> value)
    {
        Int(value.Length);
        _buffer.Write(value);
    }
}

/// <summary>Reads the fields of a record. Believes nothing: lengths are checked before anything is allocated.</summary>
/// <param name="payload">The record.</param>
internal ref struct FieldReader(ReadOnlySequence<byte> payload)
{
    private SequenceReader<byte> _reader = new(payload);

    public readonly bool IsAtEnd => _reader.End;

    public bool Bool() => Byte() != 0;

    public byte Byte() => _reader.TryRead(out byte value) ? value : throw TooShort();

    public int Int() => _reader.TryReadLittleEndian(out int value) ? value : throw TooShort();

    public long Long() => _reader.TryReadLittleEndian(out long value) ? value : throw TooShort();

    public string? Text()
    {
        int count = Int();
        if (count == -1)
            return null;
        return Encoding.UTF8.GetString(Take(count));
    }

    public string RequiredText() => Text() ?? throw new ProtocolViolationException("A record lacks a text that it must have.");

    public ReadOnlySequence<byte> Bytes() => Take(Int());

    /// <summary>The number of elements that follow; each takes at least one byte.</summary>
    public int Count()
    {
        int count = Int();
        return count >= 0 && count <= _reader.Remaining ? count : throw TooShort();
    }

    private ReadOnlySequence<byte> Take(int count)
    {
        if (count < 0 || count > _reader.Remaining)
            throw TooShort();
        ReadOnlySequence<byte> taken = _reader.UnreadSequence.Slice(0, count);
        _reader.Advance(count);
        return taken;
    }

    private static ProtocolViolationException TooShort() => new("A record ends before its last field, or has a length that it cannot have.");
}
