using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>The pooled array of a long frame, also while that is received: it goes back to the pool when the next frame is looked for, unless somebody takes it over. The reader's.</summary>
internal sealed class PooledPayload
{
    private byte[]? _array;

    /// <summary>Gives back the array before, and keeps this one.</summary>
    public void Set(byte[]? array)
    {
        if (_array is not null)
            ArrayPool<byte>.Shared.Return(_array);
        _array = array;
    }

    /// <summary>Takes over the array, to return it to the pool, if these bytes are in it.</summary>
    public bool TryTake(ReadOnlySequence<byte> bytes, [NotNullWhen(true)] out byte[]? array, out int offset)
    {
        (array, offset) = (null, 0);
        if (_array is null || !bytes.IsSingleSegment || !MemoryMarshal.TryGetArray(bytes.First, out ArraySegment<byte> segment) || segment.Array != _array)
            return false;
        (array, offset) = (_array, segment.Offset);
        _array = null;
        return true;
    }
}
