using System.Collections;
using System.Globalization;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>A value of a log record. Plain values travel as they are, everything else as the text that it says of itself when it is logged.</summary>
internal static class LogValue
{
    private enum Kind : byte
    {
        Null,
        Text,
        Bool,
        Int,
        Long,
        Double,
        Decimal,
        Time,
        TimeWithOffset,
        Span,
        Guid,
        List,
    }

    /// <summary>How many values of a list travel.</summary>
    private const int MaxCount = 64;

    public static void Write(object? value, FieldWriter writer, int maxBytes)
    {
        switch (value)
        {
            case null:
                writer.Byte((byte)Kind.Null);
                break;
            case bool flag:
                writer.Byte((byte)Kind.Bool);
                writer.Bool(flag);
                break;
            case byte or sbyte or short or ushort:
                writer.Byte((byte)Kind.Int);
                writer.Int(Convert.ToInt32(value, CultureInfo.InvariantCulture));
                break;
            case uint number:
                writer.Byte((byte)Kind.Long);
                writer.Long(number);
                break;
            case int number:
                writer.Byte((byte)Kind.Int);
                writer.Int(number);
                break;
            case long number:
                writer.Byte((byte)Kind.Long);
                writer.Long(number);
                break;
            case double number:
                writer.Byte((byte)Kind.Double);
                writer.Long(BitConverter.DoubleToInt64Bits(number));
                break;
            case decimal number:
                writer.Byte((byte)Kind.Decimal);
                foreach (int part in decimal.GetBits(number))
                    writer.Int(part);
                break;
            case DateTime time:
                writer.Byte((byte)Kind.Time);
                writer.Long(time.ToBinary());
                break;
            case DateTimeOffset time:
                writer.Byte((byte)Kind.TimeWithOffset);
                writer.Long(time.Ticks);
                writer.Long(time.Offset.Ticks);
                break;
            case TimeSpan span:
                writer.Byte((byte)Kind.Span);
                writer.Long(span.Ticks);
                break;
            case Guid id:
                writer.Byte((byte)Kind.Guid);
                writer.Bytes(id.ToByteArray());
                break;
            case ICollection and not IDictionary when TryCopy((ICollection)value) is { } copy:
                writer.Byte((byte)Kind.List);
                writer.Int(copy.Length);
                foreach (object? one in copy)
                    Write(one is ICollection ? TextOf(one) : one, writer, maxBytes / Math.Max(1, copy.Length));
                break;
            default:
                writer.Byte((byte)Kind.Text);
                writer.Text(TextOf(value), maxBytes);
                break;
        }
    }

    /// <exception cref="ProtocolViolationException">The bytes are no value.</exception>
    public static object? Read(ref FieldReader reader) => Read(ref reader, mayBeList: true);

    private static object? Read(ref FieldReader reader, bool mayBeList)
    {
        var kind = (Kind)reader.Byte();
        try
        {
            return kind switch
            {
                Kind.Null => null,
                Kind.Text => reader.RequiredText(),
                Kind.Bool => reader.Bool(),
                Kind.Int => reader.Int(),
                Kind.Long => reader.Long(),
                Kind.Double => BitConverter.Int64BitsToDouble(reader.Long()),
                Kind.Decimal => new decimal([reader.Int(), reader.Int(), reader.Int(), reader.Int()]),
                Kind.Time => DateTime.FromBinary(reader.Long()),
                Kind.TimeWithOffset => new DateTimeOffset(reader.Long(), TimeSpan.FromTicks(reader.Long())),
                Kind.Span => TimeSpan.FromTicks(reader.Long()),
                Kind.List when mayBeList => ReadList(ref reader),
                Kind.Guid => new Guid(System.Buffers.BuffersExtensions.ToArray(reader.Bytes())),
                _ => throw new ProtocolViolationException($"A log record has a value of the unknown kind {kind}."),
            };
        }
        catch (ArgumentException error)
        {
            throw new ProtocolViolationException($"A log record has an impossible value of kind {kind}.", error);
        }
    }

    private static object?[] ReadList(ref FieldReader reader)
    {
        int count = reader.Count();
        if (count > MaxCount)
            throw new ProtocolViolationException($"A log record has a list of {count} values.");
        var list = new object?[count];
        for (int i = 0; i < count; i++)
            list[i] = Read(ref reader, mayBeList: false);
        return list;
    }

    /// <summary>The values of a list, unless it does not let itself be read.</summary>
    private static object?[]? TryCopy(ICollection list)
    {
        try
        {
            return [.. list.Cast<object?>().Take(MaxCount)];
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            return null;
        }
    }

    /// <summary>What a value says of itself. Never throws, whatever the value does.</summary>
    public static string TextOf(object? value)
    {
        try
        {
            return Convert.ToString(value, CultureInfo.InvariantCulture) ?? "";
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            return $"({value!.GetType().Name}.ToString threw {error.GetType().Name})";
        }
    }
}
