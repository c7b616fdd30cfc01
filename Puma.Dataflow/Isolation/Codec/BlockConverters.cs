using System.Buffers;
using Nerdbank.MessagePack;
using PolyType;

namespace Puma.Dataflow.Isolation.Codec;

#pragma warning disable NBMsgPack031 // Each Write and Read below handles exactly one value, in the two methods that all of them share.

/// <summary>Converters that leave large blocks of bytes out of band.</summary>
internal static class BlockConverters
{
    /// <summary>The payload that this thread writes; a serialization never leaves its thread.</summary>
    [ThreadStatic]
    internal static PayloadWriter? Writer;

    /// <summary>The payload that this thread reads.</summary>
    [ThreadStatic]
    internal static PayloadReader? Reader;

    public static ConverterCollection All { get; } = ConverterCollection.Create(
    [
        new ArrayConverter<byte>(), new ArrayConverter<sbyte>(), new ArrayConverter<short>(), new ArrayConverter<ushort>(), new ArrayConverter<int>(),
        new ArrayConverter<uint>(), new ArrayConverter<long>(), new ArrayConverter<ulong>(), new ArrayConverter<float>(), new ArrayConverter<double>(),
        new MemoryConverter(), new ReadOnlyMemoryConverter(), new SharedBufferConverter(),
    ]);

    private static void Write(ref MessagePackWriter writer, ReadOnlyMemory<byte> block)
    {
        if (block.Length >= ItemCodec<byte>.BlockThreshold && Writer is { } payload)
            writer.Write(payload.AddBlock(block));
        else
            writer.Write(block.Span);
    }

    private static ReadOnlySequence<byte> Read(ref MessagePackReader reader)
    {
        if (reader.NextMessagePackType == MessagePackType.Integer)
            return Reader!.Block(reader.ReadInt32());
        return reader.ReadBytes() ?? default;
    }

    private sealed class ArrayConverter<T> : MessagePackConverter<T[]>
        where T : unmanaged
    {
        public override void Write(ref MessagePackWriter writer, in T[]? value, SerializationContext context)
        {
            if (value is null)
                writer.WriteNil();
            else
                BlockConverters.Write(ref writer, new UnmanagedMemory<T>(value).Memory);
        }

        public override T[]? Read(ref MessagePackReader reader, SerializationContext context) =>
            reader.TryReadNil() ? null : UnmanagedArrayCodec<T>.ToArray(BlockConverters.Read(ref reader));
    }

    private sealed class MemoryConverter : MessagePackConverter<Memory<byte>>
    {
        public override void Write(ref MessagePackWriter writer, in Memory<byte> value, SerializationContext context) => BlockConverters.Write(ref writer, value);

        public override Memory<byte> Read(ref MessagePackReader reader, SerializationContext context) => BlockConverters.Read(ref reader).ToArray();
    }

    private sealed class ReadOnlyMemoryConverter : MessagePackConverter<ReadOnlyMemory<byte>>
    {
        public override void Write(ref MessagePackWriter writer, in ReadOnlyMemory<byte> value, SerializationContext context) => BlockConverters.Write(ref writer, value);

        public override ReadOnlyMemory<byte> Read(ref MessagePackReader reader, SerializationContext context) => BlockConverters.Read(ref reader).ToArray();
    }

    private sealed class SharedBufferConverter : MessagePackConverter<SharedBuffer>
    {
        public override void Write(ref MessagePackWriter writer, in SharedBuffer? value, SerializationContext context)
        {
            if (value is null)
                writer.WriteNil();
            else
                BlockConverters.Write(ref writer, value.Memory);
        }

        public override SharedBuffer? Read(ref MessagePackReader reader, SerializationContext context) =>
            reader.TryReadNil() ? null : Reader!.Lend(BlockConverters.Read(ref reader));
    }
}
