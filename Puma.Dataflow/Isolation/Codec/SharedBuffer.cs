using System.Buffers;

namespace Puma.Dataflow;

/// <summary>
/// Pooled memory that travels in items without being copied more often than needed. Counted: it begins with one holder, each
/// <see cref="Retain"/> adds one, each <see cref="Dispose"/> ends one, and the memory goes back to the pool with the last.
/// </summary>
/// <remarks>
/// A buffer that came with an item into a child process is released when the item is settled; who needs it longer retains it. The members
/// that count are safe for any thread; the memory itself is not guarded.
/// </remarks>
public sealed class SharedBuffer : IMemoryOwner<byte>
{
    private readonly int _offset;
    private byte[]? _array;
    private int _holders = 1;

    /// <param name="array">An array of the shared pool.</param>
    /// <param name="offset">Where the memory begins in it.</param>
    /// <param name="length">How long it is.</param>
    internal SharedBuffer(byte[] array, int offset, int length) => (_array, _offset, Length) = (array, offset, length);

    /// <summary>Takes memory from the pool. Its contents are not cleared.</summary>
    /// <param name="length">How many bytes; not negative.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="length"/> is negative.</exception>
    public static SharedBuffer Rent(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        return new SharedBuffer(ArrayPool<byte>.Shared.Rent(length), 0, length);
    }

    /// <summary>The length in bytes.</summary>
    public int Length { get; }

    /// <summary>The memory.</summary>
    /// <exception cref="ObjectDisposedException">The last holder has ended.</exception>
    public Memory<byte> Memory
    {
        get
        {
            byte[]? array = Volatile.Read(ref _array);
            ObjectDisposedException.ThrowIf(array is null, this);
            return array.AsMemory(_offset, Length);
        }
    }

    /// <summary>Adds a holder.</summary>
    /// <returns>This buffer.</returns>
    /// <exception cref="ObjectDisposedException">The last holder has ended.</exception>
    public SharedBuffer Retain()
    {
        int holders = Volatile.Read(ref _holders);
        while (true)
        {
            ObjectDisposedException.ThrowIf(holders == 0, this);
            int seen = Interlocked.CompareExchange(ref _holders, holders + 1, holders);
            if (seen == holders)
                return this;
            holders = seen;
        }
    }

    /// <summary>Ends one holder. Further calls than holders do nothing.</summary>
    public void Dispose()
    {
        int holders = Volatile.Read(ref _holders);
        while (holders > 0)
        {
            int seen = Interlocked.CompareExchange(ref _holders, holders - 1, holders);
            if (seen != holders)
            {
                holders = seen;
                continue;
            }

            if (holders == 1 && Interlocked.Exchange(ref _array, null) is { } array)
                ArrayPool<byte>.Shared.Return(array);
            return;
        }
    }
}
