using System.Buffers.Binary;
using System.Diagnostics;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>The rest of a frame that carries the payloads of many short items of consecutive numbers, each after its length (u32, little endian).</summary>
/// <remarks>Believes no length. It stays as long as the frame does.</remarks>
internal struct FramePack
{
    /// <summary>Before each payload, in bytes.</summary>
    public const int LengthBytes = 4;

    private readonly int _end;
    private int _at;

    /// <exception cref="ProtocolViolationException">There is nothing in it.</exception>
    public FramePack(in FrameHeader header, byte[] bytes, int at)
    {
        if (header.Length == 0)
            throw new ProtocolViolationException($"A {header.Type} frame is empty.");
        (Bytes, _at, _end) = (bytes, at, at + header.Length);
        (Number, Port, Attempt, HasResults) = (header.Number, header.Port, header.Attempt, header.Type == FrameType.PackedResults);
    }

    /// <summary>Where the payloads are.</summary>
    public byte[] Bytes { get; }

    /// <summary>The number of the next item.</summary>
    public long Number { get; private set; }

    public ushort Port { get; }

    public byte Attempt { get; }

    /// <summary>Whether it carries results, and not items.</summary>
    public bool HasResults { get; }

    public readonly bool IsEmpty => _at == _end;

    /// <summary>Takes the next payload.</summary>
    /// <exception cref="ProtocolViolationException">It is longer than the rest.</exception>
    public (int At, int Length) Take()
    {
        int left = _end - _at - LengthBytes;
        int length = left < 0 ? 0 : BinaryPrimitives.ReadInt32LittleEndian(Bytes.AsSpan(_at));
        if (length < 0 || length > left)
            throw new ProtocolViolationException($"In a pack, item {Number} has {length} bytes; {left} are left.");
        int at = _at + LengthBytes;
        _at = at + length;
        Number++;
        return (at, length);
    }
}

/// <summary>Gathers payloads of short items of consecutive numbers, to be one frame. Its owner's.</summary>
internal sealed class FramePacker
{
    /// <summary>Longer payloads gain nothing here, in bytes.</summary>
    public const int LongestPayload = 1024;

    private const int Capacity = 16 * 1024;

    private readonly byte[] _bytes = new byte[Capacity];
    private int _filled;

    /// <summary>The number of the first one.</summary>
    public long First { get; private set; }

    public int Count { get; private set; }

    /// <summary>The payload of the frame.</summary>
    public ReadOnlySpan<byte> Payload => _bytes.AsSpan(0, _filled);

    /// <summary>Whether any short payload fits.</summary>
    public bool HasRoom => _filled <= Capacity - FramePack.LengthBytes - LongestPayload;

    /// <summary>How many payloads fit, however long they are.</summary>
    public int SureRoom => (Capacity - _filled) / (FramePack.LengthBytes + LongestPayload);

    /// <summary>Where the next payload goes, if there is room.</summary>
    public Span<byte> Room => _bytes.AsSpan(_filled + FramePack.LengthBytes, LongestPayload);

    /// <summary>Adds the payload that was written to <see cref="Room"/>.</summary>
    /// <param name="number">Of the item: the next one, if there are any.</param>
    /// <param name="length">In bytes.</param>
    public void Add(long number, int length)
    {
        Debug.Assert(Count == 0 || number == First + Count, "Numbers are consecutive.");
        if (Count++ == 0)
            First = number;
        BinaryPrimitives.WriteInt32LittleEndian(_bytes.AsSpan(_filled), length);
        _filled += FramePack.LengthBytes + length;
    }

    public void Clear() => (Count, _filled) = (0, 0);
}
