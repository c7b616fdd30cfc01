using System.Buffers;
using System.Buffers.Binary;
using System.Text.Unicode;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>Writes the fields of a record, one after the other.</summary>
internal sealed class FieldWriter
{
    private readonly ArrayBufferWriter<byte> _buffer = new(256);

    private static ReadOnlySpan<byte> Mark => "…"u8;

    public ReadOnlySpan<byte> Written => _buffer.WrittenSpan;

    public int Length => _buffer.WrittenCount;

    /// <summary>Forgets what was written and keeps the room for it.</summary>
    public void Clear() => _buffer.ResetWrittenCount();

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

    /// <summary>Writes a text, or null; with a limit it is cut after the last character that fits into so many bytes, and ends with <c>…</c> then.</summary>
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
        Utf8.FromUtf16(value, target.Slice(4, room), out int read, out int count);
        if (read < value.Length && room > Mark.Length)
        {
            Utf8.FromUtf16(value, target.Slice(4, room - Mark.Length), out _, out count);
            Mark.CopyTo(target[(4 + count)..]);
            count += Mark.Length;
        }

        BinaryPrimitives.WriteInt32LittleEndian(target, count);
        _buffer.Advance(4 + count);
    }

    /// <summary>Writes bytes without their count, as the last field.</summary>
    public void Raw(ReadOnlySequence<byte> value)
    {
        foreach (ReadOnlyMemory<byte> part in value)
            _buffer.Write(part.Span);
    }

    public void Bytes(ReadOnlySpan<byte> value)
    {
        Int(value.Length);
        _buffer.Write(value);
    }
}
