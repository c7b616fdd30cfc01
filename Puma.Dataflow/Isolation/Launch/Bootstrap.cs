using System.Buffers;
using System.Buffers.Binary;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Launch;

/// <summary>What a child is told by its standard input: nowhere else can other users or its own children read it.</summary>
internal sealed record Bootstrap
{
    // A variable may be as long as all of them (128 KiB on Linux; see execve(2)).
    private const int MaxLength = 1024 * 1024;

    public required string BlackBoxName { get; init; }

    public required byte[] Secret { get; init; }

    public required int ParentProcessId { get; init; }

    /// <summary>What the variables were that are set for this child alone; null for none.</summary>
    public required IReadOnlyDictionary<string, string?> EnvironmentBefore { get; init; }

    /// <summary>The build of this library in the parent.</summary>
    public required Guid Library { get; init; }

    public void WriteTo(Stream stream)
    {
        var fields = new FieldWriter();
        fields.Text(BlackBoxName);
        fields.Bytes(Secret);
        fields.Int(ParentProcessId);
        fields.Int(EnvironmentBefore.Count);
        foreach ((string name, string? value) in EnvironmentBefore)
        {
            fields.Text(name);
            fields.Text(value);
        }

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
            BlackBoxName = reader.RequiredText(),
            Secret = reader.Bytes().ToArray(),
            ParentProcessId = reader.Int(),
            EnvironmentBefore = ReadEnvironment(ref reader),
            Library = new Guid(reader.Bytes().ToArray()),
        };
    }

    private static Dictionary<string, string?> ReadEnvironment(ref FieldReader reader)
    {
        var variables = new Dictionary<string, string?>();
        for (int left = reader.Count(); left > 0; left--)
            variables[reader.RequiredText()] = reader.Text();
        return variables;
    }
}
