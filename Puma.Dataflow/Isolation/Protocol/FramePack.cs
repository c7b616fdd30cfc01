using System.Buffers.Binary;
using System.Diagnostics;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>The rest of a frame that carries the payloads of many short items of consecutive numbers, each after its length (u32, little endian).</summary>
/// <remarks>Believes no length. It stays as long as the frame does.</remarks>
internal struct FramePack
{
    /// <summary>Before each payload, in bytes.</summary>
    public const int LengthBytes = 4;

    /// <summary>Longer payloads gain nothing in a pack, in bytes.</summary>
    public const int LongestPayload = 1024;

    /// <summary>The longest pack, in bytes: who reads it one by one makes much more of it.</summary>
    public const int MaxLength = 16 * 1024;

    private readonly int _end;
    private int _at;

    /// <exception cref="ProtocolViolationException">There is nothing in it, or nothing that has a number.</exception>
    public FramePack(in FrameHeader header, byte[] bytes, int at)
    {
        if (header.Length == 0 || header.Number <= 0)
            throw new ProtocolViolationException($"A {header.Type} frame of {header.Length} bytes begins with item {header.Number}.");
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
    /// <returns>False when it is longer than the rest, or than any may be; then it is not taken.</returns>
    public bool TryTake(out int at, out int length)
    {
        at = _at + LengthBytes;
        int left = _end - at;
        length = left < 0 ? -1 : BinaryPrimitives.ReadInt32LittleEndian(Bytes.AsSpan(_at));
        if (length < 0 || length > Math.Min(left, LongestPayload))
            return false;
        _at = at + length;
        Number++;
        return true;
    }

    /// <summary>Goes on behind payloads that can be taken.</summary>
    public void Skip(int count)
    {
        while (count-- > 0)
        {
            bool isTaken = TryTake(out _, out _);
            Debug.Assert(isTaken, "These were taken before.");
        }
    }
}
