using System.Collections;
using System.Globalization;
using System.Runtime.ExceptionServices;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>
/// An exception as data, to be told in another process: names and texts, nothing that is made anew there. Cut to bounds, because user
/// types may hold, and say, anything: a record, also within a record of the end or of the log, fits into a control frame.
/// </summary>
internal sealed record ErrorRecord
{
    private const int MaxDepth = 16;
    private const int MaxInner = 16;
    private const int MaxBases = 16;
    private const int MaxData = 32;

    // In bytes. One exception takes at most 100 KiB of them.
    private const int MaxName = 2 * 1024;
    private const int MaxMessage = 8 * 1024;
    private const int MaxStack = 16 * 1024;
    private const int MaxKey = 256;
    private const int MaxValue = 1024;

    // Beyond so many bytes no further inner exception is begun.
    private const int MaxLength = 128 * 1024;

    public required string TypeName { get; init; }

    public IReadOnlyList<string> BaseTypeNames { get; init; } = [];

    public required string Message { get; init; }

    public string StackTrace { get; init; } = "";

    public required int ProcessId { get; init; }

    public IReadOnlyList<KeyValuePair<string, string>> Data { get; init; } = [];

    public IReadOnlyList<ErrorRecord> Inner { get; init; } = [];

    /// <summary>Describes an exception. Never throws, whatever the exception's own members do.</summary>
    public static ErrorRecord Of(Exception error) => Of(error, depth: 0);

    private static ErrorRecord Of(Exception error, int depth)
    {
        var remote = error as RemoteRunnableException;
        IEnumerable<Exception> inner = error switch
        {
            AggregateException aggregate => aggregate.InnerExceptions,
            RemoteRunnableException r => r.InnerExceptions,
            { InnerException: { } one } => [one],
            _ => [],
        };
        return new ErrorRecord
        {
            TypeName = remote?.TypeName ?? NameOf(error.GetType()),
            BaseTypeNames = remote?.BaseTypeNames ?? BasesOf(error.GetType()),
            Message = Ask(() => error.Message, "(its Message threw)"),
            StackTrace = remote is null ? Ask(() => error.StackTrace, "") : remote.RemoteStackTrace + (remote.StackTrace is { } local ? $"{Environment.NewLine}   --- passed through process {Environment.ProcessId} ---{Environment.NewLine}{local}" : ""),
            ProcessId = remote?.ProcessId ?? Environment.ProcessId,
            Data = DataOf(error),
            Inner = depth >= MaxDepth ? [] : [.. inner.Take(MaxInner).Select(e => Of(e, depth + 1))],
        };
    }

    public void WriteTo(FieldWriter writer) => WriteTo(writer, writer.Length);

    private void WriteTo(FieldWriter writer, int begin)
    {
        writer.Text(TypeName, MaxName);
        writer.Int(Math.Min(BaseTypeNames.Count, MaxBases));
        foreach (string name in BaseTypeNames.Take(MaxBases))
            writer.Text(name, MaxName);
        writer.Text(Message, MaxMessage);
        writer.Text(StackTrace, MaxStack);
        writer.Int(ProcessId);
        writer.Int(Math.Min(Data.Count, MaxData));
        foreach ((string key, string value) in Data.Take(MaxData))
        {
            writer.Text(key, MaxKey);
            writer.Text(value, MaxValue);
        }

        foreach (ErrorRecord inner in Inner)
        {
            if (writer.Length - begin > MaxLength)
                break;
            writer.Bool(true);
            inner.WriteTo(writer, begin);
        }

        writer.Bool(false);
    }

    /// <exception cref="ProtocolViolationException">The bytes are no error record.</exception>
    public static ErrorRecord ReadFrom(ref FieldReader reader) => ReadFrom(ref reader, depth: 0);

    private static ErrorRecord ReadFrom(ref FieldReader reader, int depth)
    {
        if (depth > MaxDepth)
            throw new ProtocolViolationException($"An error record is nested more than {MaxDepth} deep.");
        string typeName = reader.RequiredText();
        var bases = new string[reader.Count()];
        for (int i = 0; i < bases.Length; i++)
            bases[i] = reader.RequiredText();
        string message = reader.RequiredText();
        string stack = reader.RequiredText();
        int processId = reader.Int();
        var data = new KeyValuePair<string, string>[reader.Count()];
        for (int i = 0; i < data.Length; i++)
            data[i] = new(reader.RequiredText(), reader.RequiredText());
        var inner = new List<ErrorRecord>();
        while (reader.Bool())
            inner.Add(ReadFrom(ref reader, depth + 1));
        return new ErrorRecord { TypeName = typeName, BaseTypeNames = bases, Message = message, StackTrace = stack, ProcessId = processId, Data = data, Inner = inner };
    }

    /// <param name="text">What the original says of itself in whole; null when the exception shall compose it.</param>
    public RemoteRunnableException ToException(string? text = null)
    {
        var error = new RemoteRunnableException(TypeName, BaseTypeNames, Message, StackTrace, [.. Inner.Select(static i => i.ToException())], ProcessId) { OriginalText = text };
        foreach ((string key, string value) in Data)
            error.Data[key] = value;
        if (text is not null && StackTrace is { Length: > 0 })
            ExceptionDispatchInfo.SetRemoteStackTrace(error, StackTrace);
        return error;
    }

    private static string NameOf(Type type) => type.FullName ?? type.Name;

    private static List<string> BasesOf(Type type)
    {
        List<string> names = [];
        for (Type? t = type.BaseType; t is not null && t != typeof(object); t = t.BaseType)
            names.Add(NameOf(t));
        return names;
    }

    private static List<KeyValuePair<string, string>> DataOf(Exception error)
    {
        List<KeyValuePair<string, string>> data = [];
        try
        {
            foreach (DictionaryEntry entry in error.Data)
            {
                if (data.Count == MaxData)
                    break;
                if (entry.Key is string key && entry.Value is string or bool or IFormattable)
                    data.Add(new(key, Convert.ToString(entry.Value, CultureInfo.InvariantCulture) ?? ""));
            }
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            data.Add(new("Puma.Data", $"could not be read: {failure.GetType().Name}"));
        }

        return data;
    }

    private static string Ask(Func<string?> member, string otherwise)
    {
        try
        {
            return member() ?? "";
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            return otherwise;
        }
    }
}
