using System.Buffers;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>A report of a child.</summary>
/// <param name="Time">When, in ticks of UTC.</param>
/// <param name="Dropped">How many reports of the type were dropped since the one before.</param>
/// <param name="Value">The encoded value.</param>
internal readonly record struct StatusRecord(long Time, long Dropped, ReadOnlySequence<byte> Value)
{
    private const int HeadLength = 16;

    /// <summary>The longest encoded value, in bytes.</summary>
    public const int MaxValue = FrameFormat.MaxControl - HeadLength;

    /// <summary>How many types a child may report.</summary>
    public const int MaxTypes = 1024;

    public void WriteTo(FieldWriter writer)
    {
        writer.Long(Time);
        writer.Long(Dropped);
        writer.Raw(Value);
    }

    /// <exception cref="ProtocolViolationException">The bytes are no report.</exception>
    public static StatusRecord ReadFrom(ref FieldReader reader)
    {
        long time = reader.Long(), dropped = reader.Long();
        if (time < 0 || time > DateTime.MaxValue.Ticks || dropped < 0)
            throw new ProtocolViolationException("A report has a time or a count that it cannot have.");
        return new StatusRecord(time, dropped, reader.Rest());
    }
}
