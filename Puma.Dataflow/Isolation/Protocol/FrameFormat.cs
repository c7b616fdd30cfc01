using System.Buffers.Binary;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>
/// The layout of a frame: a header of 24 bytes, little endian, then the payload.
/// <code>'P' 'M' | version u8 | type u8 | port u16 | attempt u8 | flags u8 | length u32 | sequence u32 | number i64</code>
/// The sequence counts the frames of one direction of one connection, so that a lost or alien byte is noticed.
/// </summary>
internal static class FrameFormat
{
    public const int HeaderLength = 24;
    public const byte Version = 1;

    /// <summary>The longest payload of a data frame, unless told otherwise, in bytes.</summary>
    public const int MaxData = 1024 * 1024 * 1024;

    /// <summary>The longest payload of a control frame, in bytes.</summary>
    public const int MaxControl = 256 * 1024;

    /// <summary>The longest log record: its two texts, its values and scopes, and an error.</summary>
    public const int MaxLog = 8 * 1024 * 1024;

    /// <summary>The longest arguments or result of a call, encoded.</summary>
    public const int MaxCall = 64 * 1024 * 1024;

    /// <summary>The longest payload of a frame on a connection with a limit. The options of a stage travel with its start and are no items.</summary>
    public static int LongestOf(FrameType type, int limit) => type switch
    {
        FrameType.Start => MaxData,
        FrameType.Log => Math.Max(MaxLog, limit),
        FrameType.PackedItems or FrameType.PackedResults => FramePack.MaxLength,
        FrameType.Call or FrameType.Reply => Math.Max(MaxCall, limit),
        _ => limit,
    };

    private const ushort Magic = 'P' | ('M' << 8);

    public static void WriteHeader(Span<byte> header, FrameType type, ushort port, byte attempt, FrameFlags flags, int length, uint sequence, long number)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(header, Magic);
        header[2] = Version;
        header[3] = (byte)type;
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], port);
        header[6] = attempt;
        header[7] = (byte)flags;
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], (uint)length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], sequence);
        BinaryPrimitives.WriteInt64LittleEndian(header[16..], number);
    }

    /// <summary>Makes a result that was written the last one of its item.</summary>
    /// <returns>False when it is something else.</returns>
    public static bool TryMarkLast(Span<byte> header, long number)
    {
        if ((FrameType)header[3] != FrameType.Result || BinaryPrimitives.ReadInt64LittleEndian(header[16..]) != number)
            return false;
        header[3] = (byte)FrameType.LastResult;
        return true;
    }

    /// <summary>Reads a header.</summary>
    /// <param name="header">Its bytes.</param>
    /// <param name="maxLength">The longest payload that is accepted; nothing is waited for beyond it.</param>
    /// <param name="sequence">The number that the frame must have.</param>
    /// <exception cref="ProtocolViolationException">The bytes are no header.</exception>
    public static FrameHeader Read(ReadOnlySpan<byte> header, int maxLength, uint sequence)
    {
        header = header[..HeaderLength];
        var type = (FrameType)header[3];
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(header[8..]);
        if (BinaryPrimitives.ReadUInt16LittleEndian(header) != Magic)
            throw Violation("does not begin with the mark of a frame", header);
        if (header[2] != Version)
            throw Violation($"has protocol version {header[2]} instead of {Version}", header);
        if (type is FrameType.None or > FrameType.Idle)
            throw Violation($"has the unknown type {header[3]}", header);
        if (BinaryPrimitives.ReadUInt32LittleEndian(header[12..]) != sequence)
            throw Violation($"has sequence {BinaryPrimitives.ReadUInt32LittleEndian(header[12..])} instead of {sequence}", header);
        if (length > LongestOf(type, maxLength))
            throw Violation($"announces {length} bytes; at most {LongestOf(type, maxLength)} are allowed", header);
        return new FrameHeader(
            type,
            BinaryPrimitives.ReadUInt16LittleEndian(header[4..]),
            header[6],
            (FrameFlags)header[7],
            BinaryPrimitives.ReadInt64LittleEndian(header[16..]),
            (int)length);
    }

    private static ProtocolViolationException Violation(string what, ReadOnlySpan<byte> header) =>
        new($"A frame {what}. Its header is {Convert.ToHexString(header)}.");
}
