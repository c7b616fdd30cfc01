using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Codec;

/// <summary>Carries values of one type. Safe for any thread.</summary>
internal abstract class ItemCodec<T>
{
    /// <summary>From so many bytes on, a block of bytes is not copied into the head.</summary>
    public const int BlockThreshold = 64 * 1024;

    /// <exception cref="ItemCodecException">The value cannot be carried.</exception>
    public abstract void Write(PayloadWriter writer, T item);

    /// <exception cref="ItemCodecException">The payload is no such value: malformed, or its type or codec does not take it.</exception>
    public abstract T Read(PayloadReader reader);

    /// <summary>The longest payload of a value that is short, in bytes.</summary>
    public virtual int LongestShort => FramePack.LongestPayload;

    /// <summary>Writes a value, and copies its payload if that is short and has no blocks. May throw; the caller then takes the long way, on which the value is written again and its error is told.</summary>
    /// <param name="writer">Is empty; holds the payload afterwards if that was not copied.</param>
    /// <param name="target">Where to, as long as the payload may be.</param>
    /// <param name="item">The value.</param>
    /// <returns>The length; negative when the payload is none of that kind.</returns>
    /// <inheritdoc cref="Write" path="/exception"/>
    public virtual int WriteShort(PayloadWriter writer, Span<byte> target, T item)
    {
        try
        {
            Write(writer, item);
        }
        catch
        {
            writer.Reset();
            throw;
        }

        int length = writer.Head.Length;
        if (writer.HasBlocks || !writer.Head.TryCopyTo(target))
            return -1;
        writer.Reset();
        return length;
    }

    /// <summary>
    /// Reads a short payload, which has no blocks. What it leaves in the reader is to be released or kept, as with any other. May throw; the caller
    /// then takes the long way, on which the payload is read again and its error is told.
    /// </summary>
    /// <inheritdoc cref="Read(PayloadReader)" path="/exception"/>
    public virtual T ReadShort(PayloadReader reader, byte[] bytes, int at, int length)
    {
        reader.Reset(new ReadOnlySequence<byte>(bytes, at, length), hasBlocks: false);
        return Read(reader);
    }

    /// <summary>Writes values to a pack, up to the first one that takes the long way; see <see cref="WriteShort"/>.</summary>
    /// <param name="writer">Is empty; holds the payload of that one afterwards, if it could be written.</param>
    /// <param name="packer">Has room for all of them.</param>
    /// <param name="longest">So long may each be, in bytes.</param>
    /// <param name="items">The values.</param>
    /// <returns>How many were written.</returns>
    public virtual int WriteMany(PayloadWriter writer, FramePacker packer, int longest, ReadOnlySpan<T> items)
    {
        int count = 0;
        try
        {
            for (; count < items.Length && WriteShort(writer, packer.Room[..longest], items[count]) is >= 0 and int length; count++)
                packer.Add(length);
        }
        catch (Exception)
        {
            // It takes the long way.
        }

        return count;
    }

    /// <summary>Reads values from a pack, up to the first one that takes the long way; see <see cref="ReadShort"/>. Buffers are left to the values.</summary>
    /// <param name="reader">Is used.</param>
    /// <param name="pack">Goes on behind those that were read.</param>
    /// <param name="target">As many as there may be.</param>
    /// <returns>How many were read.</returns>
    public virtual int ReadMany(PayloadReader reader, ref FramePack pack, Span<T> target)
    {
        int count = 0;
        FramePack rest = pack;
        try
        {
            for (; count < target.Length && !rest.IsEmpty && rest.TryTake(out int at, out int length); count++)
            {
                target[count] = ReadShort(reader, rest.Bytes, at, length);
                reader.Keep();
                pack = rest;
            }
        }
        catch (Exception)
        {
            reader.Release();
            target[count] = default!;
        }

        return count;
    }
}

/// <summary>Values without references, as they lie in memory: both processes run the same program on the same machine.</summary>
internal sealed class UnmanagedCodec<T> : ItemCodec<T>
{
    private static readonly int Size = Unsafe.SizeOf<T>();

    public override void Write(PayloadWriter writer, T item)
    {
        Unsafe.WriteUnaligned(ref MemoryMarshal.GetReference(writer.GetSpan(Size)), item);
        writer.Advance(Size);
    }

    public override T Read(PayloadReader reader)
    {
        ReadOnlySequence<byte> head = reader.Head;
        if (head.Length != Size)
            throw WrongLength(head.Length);
        ReadOnlySpan<byte> all = head.FirstSpan;
        if (all.Length == Size)
            return Unsafe.ReadUnaligned<T>(ref MemoryMarshal.GetReference(all));
        Span<byte> copy = stackalloc byte[Size];
        head.CopyTo(copy);
        return Unsafe.ReadUnaligned<T>(ref MemoryMarshal.GetReference(copy));
    }

    public override int WriteShort(PayloadWriter writer, Span<byte> target, T item)
    {
        if (Size > target.Length)
        {
            Write(writer, item);
            return -1;
        }

        Unsafe.WriteUnaligned(ref MemoryMarshal.GetReference(target), item);
        return Size;
    }

    public override T ReadShort(PayloadReader reader, byte[] bytes, int at, int length) =>
        length == Size ? Unsafe.ReadUnaligned<T>(ref MemoryMarshal.GetReference(bytes.AsSpan(at, length))) : throw WrongLength(length);

    public override int LongestShort => Math.Min(Size, FramePack.LongestPayload);

    public override int WriteMany(PayloadWriter writer, FramePacker packer, int longest, ReadOnlySpan<T> items)
    {
        if (Size > longest)
            return base.WriteMany(writer, packer, longest, items);
        Span<byte> all = packer.AddMany(Size, items.Length);
        foreach (T item in items)
        {
            BinaryPrimitives.WriteInt32LittleEndian(all, Size);
            Unsafe.WriteUnaligned(ref MemoryMarshal.GetReference(all.Slice(FramePack.LengthBytes, Size)), item);
            all = all[(FramePack.LengthBytes + Size)..];
        }

        return items.Length;
    }

    public override int ReadMany(PayloadReader reader, ref FramePack pack, Span<T> target)
    {
        int count = 0;
        FramePack rest = pack;
        for (; count < target.Length && !rest.IsEmpty && rest.TryTake(out int at, out int length) && length == Size; count++)
        {
            target[count] = Unsafe.ReadUnaligned<T>(ref rest.Bytes[at]);
            pack = rest;
        }

        return count;
    }

    private static ItemCodecException WrongLength(long length) => PayloadReader.Corrupt($"a {typeof(T).Name} has {Size} bytes, not {length}");
}

/// <summary>Texts, unchanged to the last surrogate.</summary>
internal sealed class TextCodec : ItemCodec<string?>
{
    public override void Write(PayloadWriter writer, string? item) => WriteText(writer, item);

    public override string? Read(PayloadReader reader)
    {
        var head = new SequenceReader<byte>(reader.Head);
        return ReadText(ref head);
    }

    public static void WriteText(PayloadWriter writer, string? item)
    {
        PayloadWriter.WriteInt(writer, item?.Length ?? -1);
        writer.Write(MemoryMarshal.AsBytes(item.AsSpan()));
    }

    public static string? ReadText(ref SequenceReader<byte> head)
    {
        if (!head.TryReadLittleEndian(out int length) || length < -1 || length > head.Remaining / 2)
            throw PayloadReader.Corrupt("a text is longer than it");
        if (length == -1)
            return null;
        ReadOnlySequence<byte> bytes = head.UnreadSequence.Slice(0, length * 2L);
        head.Advance(length * 2L);
        return string.Create(length, bytes, static (chars, source) => source.CopyTo(MemoryMarshal.AsBytes(chars)));
    }
}

/// <summary>Arrays of texts.</summary>
internal sealed class TextArrayCodec : ItemCodec<string?[]?>
{
    public override void Write(PayloadWriter writer, string?[]? item)
    {
        PayloadWriter.WriteInt(writer, item?.Length ?? -1);
        foreach (string? text in item ?? [])
            TextCodec.WriteText(writer, text);
    }

    public override string?[]? Read(PayloadReader reader)
    {
        var head = new SequenceReader<byte>(reader.Head);
        if (!head.TryReadLittleEndian(out int count) || count < -1 || count > head.Remaining / 4)
            throw PayloadReader.Corrupt("an array of texts is longer than it");
        if (count == -1)
            return null;
        var texts = new string?[count];
        for (int i = 0; i < count; i++)
            texts[i] = TextCodec.ReadText(ref head);
        return texts;
    }
}

/// <summary>Blocks of bytes, in the head or out of band.</summary>
internal static class ByteBlock
{
    private const byte Null = 0, InHead = 1, OutOfBand = 2;

    public static void WriteNull(PayloadWriter writer)
    {
        writer.GetSpan(1)[0] = Null;
        writer.Advance(1);
    }

    public static void Write(PayloadWriter writer, ReadOnlyMemory<byte> block)
    {
        bool isLarge = block.Length >= ItemCodec<byte>.BlockThreshold;
        writer.GetSpan(1)[0] = isLarge ? OutOfBand : InHead;
        writer.Advance(1);
        if (isLarge)
            writer.AddBlock(block);
        else
            writer.Write(block.Span);
    }

    /// <returns>False when it was null.</returns>
    public static bool TryRead(PayloadReader reader, out ReadOnlySequence<byte> block)
    {
        block = default;
        if (reader.Head.IsEmpty)
            throw PayloadReader.Corrupt("a block of bytes lacks its mark");
        switch (reader.Head.FirstSpan[0])
        {
            case Null:
                return false;
            case InHead:
                block = reader.Head.Slice(1);
                return true;
            case OutOfBand:
                block = reader.Block(0);
                return true;
            default:
                throw PayloadReader.Corrupt("a block of bytes has an unknown mark");
        }
    }
}

/// <summary>Arrays of values without references.</summary>
internal sealed class UnmanagedArrayCodec<T> : ItemCodec<T[]?>
    where T : unmanaged
{
    public override void Write(PayloadWriter writer, T[]? item)
    {
        if (item is null)
            ByteBlock.WriteNull(writer);
        else
            ByteBlock.Write(writer, new UnmanagedMemory<T>(item).Memory);
    }

    public override T[]? Read(PayloadReader reader) => ByteBlock.TryRead(reader, out ReadOnlySequence<byte> block) ? ToArray(block) : null;

    public static T[] ToArray(ReadOnlySequence<byte> block)
    {
        if (block.Length % Unsafe.SizeOf<T>() != 0)
            throw PayloadReader.Corrupt($"{block.Length} bytes are no whole number of {typeof(T).Name}");
        T[] array = GC.AllocateUninitializedArray<T>(checked((int)(block.Length / Unsafe.SizeOf<T>())));
        block.CopyTo(MemoryMarshal.AsBytes(array.AsSpan()));
        return array;
    }
}

/// <summary>The bytes of an array.</summary>
internal abstract class ArrayMemory : MemoryManager<byte>;

/// <summary>The bytes of an array of values without references.</summary>
internal sealed class UnmanagedMemory<T>(T[] array) : ArrayMemory
    where T : unmanaged
{
    public override Span<byte> GetSpan() => MemoryMarshal.AsBytes(array.AsSpan());

    public override unsafe MemoryHandle Pin(int elementIndex = 0)
    {
        var handle = GCHandle.Alloc(array, GCHandleType.Pinned);
        return new MemoryHandle((byte*)handle.AddrOfPinnedObject() + elementIndex, handle);
    }

    public override void Unpin() { }

    protected override void Dispose(bool disposing) { }
}

/// <summary>Memory of bytes.</summary>
internal sealed class MemoryCodec : ItemCodec<Memory<byte>>
{
    public override void Write(PayloadWriter writer, Memory<byte> item) => ByteBlock.Write(writer, item);

    public override Memory<byte> Read(PayloadReader reader) => ByteBlock.TryRead(reader, out ReadOnlySequence<byte> block) ? block.ToArray() : default;
}

/// <summary>Read-only memory of bytes.</summary>
internal sealed class ReadOnlyMemoryCodec : ItemCodec<ReadOnlyMemory<byte>>
{
    public override void Write(PayloadWriter writer, ReadOnlyMemory<byte> item) => ByteBlock.Write(writer, item);

    public override ReadOnlyMemory<byte> Read(PayloadReader reader) => ByteBlock.TryRead(reader, out ReadOnlySequence<byte> block) ? block.ToArray() : default;
}

/// <summary>Pooled memory; pooled again where it arrives.</summary>
internal sealed class SharedBufferCodec : ItemCodec<SharedBuffer?>
{
    public override void Write(PayloadWriter writer, SharedBuffer? item)
    {
        if (item is null)
            ByteBlock.WriteNull(writer);
        else
            ByteBlock.Write(writer, item.Memory);
    }

    public override SharedBuffer? Read(PayloadReader reader) => ByteBlock.TryRead(reader, out ReadOnlySequence<byte> block) ? reader.Lend(block) : null;
}

/// <summary>What the user's own codec carries.</summary>
internal sealed class CustomCodec<T>(IItemCodec codec) : ItemCodec<T>
{
    public override void Write(PayloadWriter writer, T item)
    {
        try
        {
            codec.Write(writer, item);
        }
        catch (Exception error) when (error is not ItemCodecException)
        {
            throw new ItemCodecException(typeof(T), null, $"{codec.GetType().Name} failed with {error.GetType().Name}: {ExceptionText.MessageOf(error)}", error);
        }
    }

    public override T Read(PayloadReader reader)
    {
        try
        {
            return codec.Read<T>(reader.Head);
        }
        catch (Exception error) when (error is not ItemCodecException)
        {
            throw new ItemCodecException(typeof(T), null, $"{codec.GetType().Name} failed with {error.GetType().Name}: {ExceptionText.MessageOf(error)}", error);
        }
    }
}
