using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>What user code in a child logged.</summary>
internal sealed record LogRecord(LogLevel Level, int EventId, string? EventName, string Message, ErrorRecord? Error)
{
    // In bytes. Together with the longest error it fits into a control frame.
    private const int MaxName = 256;
    private const int MaxMessage = 32 * 1024;

    public void WriteTo(FieldWriter writer)
    {
        writer.Byte((byte)Level);
        writer.Int(EventId);
        writer.Text(EventName, MaxName);
        writer.Text(Message, MaxMessage);
        writer.Bool(Error is not null);
        Error?.WriteTo(writer);
    }

    /// <exception cref="ProtocolViolationException">The bytes are no log record.</exception>
    public static LogRecord ReadFrom(ref FieldReader reader)
    {
        byte level = reader.Byte();
        if (level > (byte)LogLevel.None)
            throw new ProtocolViolationException($"A log record has the unknown level {level}.");
        int eventId = reader.Int();
        string? eventName = reader.Text();
        string message = reader.RequiredText();
        return new LogRecord((LogLevel)level, eventId, eventName, message, reader.Bool() ? ErrorRecord.ReadFrom(ref reader) : null);
    }
}
