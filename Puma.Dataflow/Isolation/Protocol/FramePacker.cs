using System.Buffers.Binary;
using System.Diagnostics;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>Gathers payloads of short items of consecutive numbers, to be one frame. Its owner's.</summary>
internal sealed class FramePacker
{
    private readonly byte[] _bytes = new byte[FramePack.MaxLength];
    private int _filled;

    /// <summary>The payload of the frame.</summary>
    public ReadOnlySpan<byte> Payload => _bytes.AsSpan(0, _filled);

    /// <summary>How many payloads fit that have so many bytes at most.</summary>
    public int RoomFor(int longest) => (FramePack.MaxLength - _filled) / (FramePack.LengthBytes + longest);

    /// <summary>Where the next payload goes, if there is room.</summary>
    public Span<byte> Room => _bytes.AsSpan(_filled + FramePack.LengthBytes, FramePack.LongestPayload);

    /// <summary>Adds the payload that was written to <see cref="Room"/>.</summary>
    /// <param name="length">In bytes.</param>
    public void Add(int length)
    {
        BinaryPrimitives.WriteInt32LittleEndian(_bytes.AsSpan(_filled), length);
        _filled += FramePack.LengthBytes + length;
    }

    /// <summary>Adds payloads of one length, which the caller writes.</summary>
    /// <param name="length">In bytes.</param>
    /// <param name="count">How many; there is room for them.</param>
    /// <returns>Where they go, each behind its length.</returns>
    public Span<byte> AddMany(int length, int count)
    {
        Debug.Assert(count <= RoomFor(length), "They fit.");
        Span<byte> place = _bytes.AsSpan(_filled, (FramePack.LengthBytes + length) * count);
        _filled += place.Length;
        return place;
    }

    public void Clear() => _filled = 0;
}
