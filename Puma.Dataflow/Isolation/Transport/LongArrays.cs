using System.Buffers;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>
/// Arrays for bytes on their way. A long one has exactly the length that is needed, and one of them is kept for the next: the shared pool would
/// round it up to a power of two, and keep what it gets back for each thread, so that a few frames of some megabytes would hold many times their memory.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class LongArrays
{
    private const int Long = 1024 * 1024;
    private const int LongestKept = 16 * 1024 * 1024;

    private byte[]? _kept;

    public byte[] Rent(int length)
    {
        if (length <= Long)
            return ArrayPool<byte>.Shared.Rent(length);
        byte[]? kept = Interlocked.Exchange(ref _kept, null);
        return kept?.Length >= length ? kept : GC.AllocateUninitializedArray<byte>(length);
    }

    public void Return(byte[] array)
    {
        if (array.Length <= Long)
            ArrayPool<byte>.Shared.Return(array);
        else if (array.Length <= LongestKept)
            Volatile.Write(ref _kept, array);
    }
}
