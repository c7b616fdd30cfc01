using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>What was logged in a child, as it was when it was logged: values, not objects that may change.</summary>
internal sealed record LogRecord
{
    /// <summary>The names of these values are those of NLog's loggers.</summary>
    public const string EventIdName = "EventId", EventNameName = "EventName";

    /// <summary>The template among the values of a log call.</summary>
    public const string TemplateName = "{OriginalFormat}";

    // In bytes. Together they fit into FrameFormat.MaxLog.
    private const int MaxName = 1024;
    public const int MaxText = 2 * 1024 * 1024;
    private const int MaxValue = 4 * 1024;
    private const int MaxPairs = 64;

    public required LogLevel Level { get; init; }

    public required string Category { get; init; }

    /// <summary>When, in ticks of UTC.</summary>
    public required long Time { get; init; }

    /// <summary>The text for a person.</summary>
    public required string Message { get; init; }

    /// <summary>The text with the names of its values; null when there are none.</summary>
    public string? Template { get; init; }

    public IReadOnlyList<KeyValuePair<string, object?>> Properties { get; init; } = [];

    /// <summary>The values of the scopes that it was logged in.</summary>
    public IReadOnlyList<KeyValuePair<string, object?>> ScopeProperties { get; init; } = [];

    /// <summary>The texts of the scopes that it was logged in, the outermost first.</summary>
    public IReadOnlyList<string> ScopeTexts { get; init; } = [];

    public ErrorRecord? Error { get; init; }

    /// <summary>What the exception says of itself in whole.</summary>
    public string? ErrorText { get; init; }

    public int ProcessId { get; init; } = Environment.ProcessId;

    public int ThreadId { get; init; } = Environment.CurrentManagedThreadId;

    public string? ThreadName { get; init; }

    public string? TraceId { get; init; }

    public string? SpanId { get; init; }

    public CallSite? CallSite { get; init; }

    /// <param name="writer">Where to.</param>
    /// <param name="maxText">How many bytes a text has at most; no more than <see cref="MaxText"/>.</param>
    /// <remarks>User code made some of it; a null where none may be is an empty text.</remarks>
    public void WriteTo(FieldWriter writer, int maxText)
    {
        writer.Byte((byte)Level);
        writer.Text(Category, MaxName);
        writer.Long(Time);
        Cut(Message ?? "", maxText, writer);
        Cut(Template == Message ? null : Template, maxText, writer);
        writer.Bool(Template is not null);
        Write(Properties, writer);
        Write(ScopeProperties, writer);
        writer.Int(Math.Min(ScopeTexts.Count, MaxPairs));
        foreach (string text in ScopeTexts.Take(MaxPairs))
            writer.Text(text ?? "", MaxValue);
        writer.Bool(Error is not null);
        Error?.WriteTo(writer);
        writer.Text(ErrorText, Math.Min(maxText, 64 * 1024));
        writer.Int(ProcessId);
        writer.Int(ThreadId);
        writer.Text(ThreadName, MaxName);
        writer.Text(TraceId, MaxName);
        writer.Text(SpanId, MaxName);
        writer.Bool(CallSite is not null);
        CallSite?.WriteTo(writer);
    }

    /// <exception cref="ProtocolViolationException">The bytes are no log record.</exception>
    public static LogRecord ReadFrom(ref FieldReader reader)
    {
        byte level = reader.Byte();
        if (level >= (byte)LogLevel.None)
            throw new ProtocolViolationException($"A log record has the unknown level {level}.");
        string category = reader.RequiredText();
        long time = reader.Long();
        if (time < 0 || time > DateTime.MaxValue.Ticks)
            throw new ProtocolViolationException($"A log record has the impossible time {time}.");
        string message = reader.RequiredText();
        string? template = reader.Text();
        bool hasTemplate = reader.Bool();
        return new LogRecord
        {
            Level = (LogLevel)level,
            Category = category,
            Time = time,
            Message = message,
            Template = hasTemplate ? template ?? message : null,
            Properties = ReadPairs(ref reader),
            ScopeProperties = ReadPairs(ref reader),
            ScopeTexts = ReadTexts(ref reader),
            Error = reader.Bool() ? ErrorRecord.ReadFrom(ref reader) : null,
            ErrorText = reader.Text(),
            ProcessId = reader.Int(),
            ThreadId = reader.Int(),
            ThreadName = reader.Text(),
            TraceId = reader.Text(),
            SpanId = reader.Text(),
            CallSite = reader.Bool() ? CallSite.ReadFrom(ref reader) : null,
        };
    }

    /// <summary>The exception as it is logged: it says of itself what the original said.</summary>
    public Exception? ToException() => Error is null ? null : Error.ToException(ErrorText);

    private static void Cut(string? text, int maxBytes, FieldWriter writer)
    {
        if (text is null || text.Length <= maxBytes / 3)
            writer.Text(text);
        else
            writer.Text(text, maxBytes);
    }

    private static void Write(IReadOnlyList<KeyValuePair<string, object?>> pairs, FieldWriter writer)
    {
        writer.Int(Math.Min(pairs.Count, MaxPairs));

        // The first and the last: the outermost scope and the innermost, a call's own values and its event.
        foreach ((string key, object? value) in pairs.Count <= MaxPairs ? pairs : [.. pairs.Take(MaxPairs / 2), .. pairs.Skip(pairs.Count - (MaxPairs / 2))])
        {
            writer.Text(key ?? "", MaxName);
            LogValue.Write(value, writer, MaxValue);
        }
    }

    private static int Count(ref FieldReader reader)
    {
        int count = reader.Count();
        return count <= MaxPairs ? count : throw new ProtocolViolationException($"A log record has {count} values or scopes.");
    }

    private static KeyValuePair<string, object?>[] ReadPairs(ref FieldReader reader)
    {
        var pairs = new KeyValuePair<string, object?>[Count(ref reader)];
        for (int i = 0; i < pairs.Length; i++)
            pairs[i] = new(reader.RequiredText(), LogValue.Read(ref reader));
        return pairs;
    }

    private static string[] ReadTexts(ref FieldReader reader)
    {
        var texts = new string[Count(ref reader)];
        for (int i = 0; i < texts.Length; i++)
            texts[i] = reader.RequiredText();
        return texts;
    }
}

/// <summary>Where in the code something was logged.</summary>
internal sealed record CallSite(string? Class, string? Method, string? File, int Line)
{
    private const int MaxName = 1024;

    public void WriteTo(FieldWriter writer)
    {
        writer.Text(Class, MaxName);
        writer.Text(Method, MaxName);
        writer.Text(File, MaxName);
        writer.Int(Line);
    }

    public static CallSite ReadFrom(ref FieldReader reader) => new(reader.Text(), reader.Text(), reader.Text(), reader.Int());
}
