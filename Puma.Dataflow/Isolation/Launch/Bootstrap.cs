using System.Buffers;
using System.Buffers.Binary;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Launch;

/// <summary>What a child is told by its standard input: nowhere else can other users or its own children read it.</summary>
internal sealed record Bootstrap
{
    private const int MaxLength = 64 * 1024;

    public required string Endpoint { get; init; }

    public required string BlackBoxPath { get; init; }

    public required byte[] Secret { get; init; }

    public required int ParentProcessId { get; init; }

    public required string Stage { get; init; }

    /// <summary>The build of this library in the parent.</summary>
    public required Guid Library { get; init; }

    public void WriteTo(Stream stream)
    {
        var fields = new FieldWriter();
        fields.Text(Endpoint);
        fields.Text(BlackBoxPath);
        fields.Bytes(Secret);
        fields.Int(ParentProcessId);
        fields.Text(Stage);
        fields.Bytes(Library.ToByteArray());
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, fields.Length);
        stream.Write(length);
        stream.Write(fields.Written);
        stream.Flush();
    }

    /// <exception cref="EndOfStreamException">The parent is gone.</exception>
    public static Bootstrap ReadFrom(Stream stream)
    {
        Span<byte> prefix = stackalloc byte[4];
        stream.ReadExactly(prefix);
        int length = BinaryPrimitives.ReadInt32LittleEndian(prefix);
        if (length is < 0 or > MaxLength)
            throw new ProtocolViolationException($"The bootstrap of a child announces {length} bytes.");
        var bytes = new byte[length];
        stream.ReadExactly(bytes);
        var reader = new FieldReader(new ReadOnlySequence<byte>(bytes));
        return new Bootstrap
        {
            Endpoint = reader.RequiredText(),
            BlackBoxPath = reader.RequiredText(),
            Secret = reader.Bytes().ToArray(),
            ParentProcessId = reader.Int(),
            Stage = reader.RequiredText(),
            Library = new Guid(reader.Bytes().ToArray()),
        };
    }
}
