using System.Buffers;
using System.Text;

namespace Puma.Dataflow.Isolation.Protocol;

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

    /// <summary>All that has not been read.</summary>
    public ReadOnlySequence<byte> Rest()
    {
        ReadOnlySequence<byte> rest = _reader.UnreadSequence;
        _reader.AdvanceToEnd();
        return rest;
    }

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
