using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>The array of a long frame, also while that is received: it is used again when the next frame is looked for, unless somebody takes it over. The reader's.</summary>
internal sealed class LongPayload
{
    private readonly LongArrays _arrays = new();
    private byte[]? _array;
    private bool _isPooled;

    // Whether somebody would have taken over the last array: then the next one comes from the shared pool, where it will be returned to.
    private bool _isWanted;

    /// <summary>Makes room for a long frame, or for a longer part of it, and copies what has come of it.</summary>
    public byte[] Hold(int length, ReadOnlySpan<byte> received)
    {
        bool isPooled = _isWanted;
        byte[] array = isPooled ? ArrayPool<byte>.Shared.Rent(length) : _arrays.Rent(length);
        received.CopyTo(array);
        GiveBack();
        (_array, _isPooled) = (array, isPooled);
        return array;
    }

    /// <summary>Gives up the array, unless somebody has taken it over.</summary>
    public void Release()
    {
        if (_array is not null)
            _isWanted &= !_isPooled;
        GiveBack();
    }

    /// <summary>Takes over the array, to return it to the shared pool, if these bytes are in it.</summary>
    public bool TryTake(ReadOnlySequence<byte> bytes, [NotNullWhen(true)] out byte[]? array, out int offset)
    {
        (array, offset) = (null, 0);
        if (_array is null || !bytes.IsSingleSegment || !MemoryMarshal.TryGetArray(bytes.First, out ArraySegment<byte> segment) || segment.Array != _array)
            return false;
        _isWanted = true;
        if (!_isPooled)
            return false;
        (array, offset) = (_array, segment.Offset);
        _array = null;
        return true;
    }

    private void GiveBack()
    {
        if (_array is not null && _isPooled)
            ArrayPool<byte>.Shared.Return(_array);
        else if (_array is not null)
            _arrays.Return(_array);
        _array = null;
    }
}
