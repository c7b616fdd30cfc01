using System.Buffers.Binary;
using System.Diagnostics;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>Payloads of results of consecutive items, which one stream gathers without a lock, until somebody takes them.</summary>
/// <remarks>
/// The stream appends. Who takes does so inside of a gate, from any thread, and leaves the place of what it took to nobody: only the stream begins
/// at the front again, inside of the gate, too. So nothing is written where somebody may read.
/// </remarks>
internal sealed class ResultPack
{
    private const int MostForOne = FramePack.LengthBytes + FramePack.LongestPayload;

    private readonly byte[] _bytes = new byte[FramePack.MaxLength];

    // Written by the stream, behind the bytes; read by whoever takes.
    private int _end;

    // The stream's: the number of the next result.
    private long _next;

    // Guarded by the gate: what was taken, and the number of the result that comes then.
    private int _taken;
    private long _first;

    /// <summary>Whether there is something to be taken. Inside of the gate.</summary>
    public bool IsEmpty => Volatile.Read(ref _end) == _taken;

    /// <summary>Where the payload of the next result goes. The stream only.</summary>
    public Span<byte> Room
    {
        get
        {
            Debug.Assert(Takes(_next), "There is room.");
            return _bytes.AsSpan(_end + FramePack.LengthBytes, FramePack.LongestPayload);
        }
    }

    /// <summary>Whether the result of an item can be added as it is. The stream only.</summary>
    public bool Takes(long number) => number == _next && _end <= FramePack.MaxLength - MostForOne;

    /// <summary>Adds the result whose payload was written to <see cref="Room"/>. The stream only.</summary>
    /// <param name="length">In bytes.</param>
    public void Add(int length)
    {
        Debug.Assert(length is >= 0 and <= FramePack.LongestPayload, "It was written to the room.");
        BinaryPrimitives.WriteInt32LittleEndian(_bytes.AsSpan(_end), length);
        _next++;
        Volatile.Write(ref _end, _end + FramePack.LengthBytes + length);
    }

    /// <summary>Takes what there is: the payload of a frame. Inside of the gate.</summary>
    /// <param name="number">The first result in it.</param>
    public ReadOnlySpan<byte> Take(out long number)
    {
        number = _first;
        ReadOnlySpan<byte> taken = _bytes.AsSpan(_taken, Volatile.Read(ref _end) - _taken);

        // Counted from the lengths: the stream may be ahead with its number.
        for (int at = 0; at < taken.Length; _first++)
            at += FramePack.LengthBytes + BinaryPrimitives.ReadInt32LittleEndian(taken[at..]);
        _taken += taken.Length;
        return taken;
    }

    /// <summary>Begins at the front, with another number. The stream only, inside of the gate, when all was taken.</summary>
    public void Restart(long number)
    {
        Debug.Assert(IsEmpty, "Nothing is lost.");
        (_end, _taken, _first, _next) = (0, 0, number, number);
    }
}
