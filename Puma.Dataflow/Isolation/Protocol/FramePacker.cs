using System.Buffers.Binary;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>Gathers payloads of short items of consecutive numbers, to be one frame. Its owner's.</summary>
internal sealed class FramePacker
{
    private const int Capacity = 16 * 1024;

    private readonly byte[] _bytes = new byte[Capacity];
    private int _filled;

    /// <summary>The payload of the frame.</summary>
    public ReadOnlySpan<byte> Payload => _bytes.AsSpan(0, _filled);

    /// <summary>How many payloads fit that have so many bytes at most.</summary>
    public int RoomFor(int longest) => (Capacity - _filled) / (FramePack.LengthBytes + longest);

    /// <summary>Where the next payload goes, if there is room.</summary>
    public Span<byte> Room => _bytes.AsSpan(_filled + FramePack.LengthBytes, FramePack.LongestPayload);

    /// <summary>Adds the payload that was written to <see cref="Room"/>.</summary>
    /// <param name="length">In bytes.</param>
    public void Add(int length)
    {
        BinaryPrimitives.WriteInt32LittleEndian(_bytes.AsSpan(_filled), length);
        _filled += FramePack.LengthBytes + length;
    }

    /// <summary>Makes place for payloads of one length.</summary>
    /// <param name="length">In bytes.</param>
    /// <param name="count">How many; they fit.</param>
    /// <returns>Where they go, each behind its length.</returns>
    public Span<byte> Lengthen(int length, int count)
    {
        Span<byte> place = _bytes.AsSpan(_filled, (FramePack.LengthBytes + length) * count);
        _filled += place.Length;
        return place;
    }

    public void Clear() => _filled = 0;
}
