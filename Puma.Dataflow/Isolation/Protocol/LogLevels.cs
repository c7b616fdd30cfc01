using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Isolation.Protocol;

/// <summary>From which level on each category is logged.</summary>
/// <param name="Least">What holds for a category that is not named, now or before.</param>
/// <param name="WantsCallSite">Whether the place in the code is wanted.</param>
/// <param name="Categories">Categories with their levels; those that are not named keep theirs.</param>
internal sealed record LogLevels(LogLevel Least, bool WantsCallSite, IReadOnlyList<KeyValuePair<string, LogLevel>> Categories)
{
    /// <summary>How many categories have a level of their own.</summary>
    public const int MaxCategories = 1000;

    public void WriteTo(FieldWriter writer)
    {
        writer.Byte((byte)Least);
        writer.Bool(WantsCallSite);
        writer.Int(Categories.Count);
        foreach ((string category, LogLevel level) in Categories)
        {
            writer.Text(category);
            writer.Byte((byte)level);
        }
    }

    /// <exception cref="ProtocolViolationException">The bytes are no levels.</exception>
    public static LogLevels ReadFrom(ref FieldReader reader)
    {
        LogLevel least = Level(reader.Byte());
        bool wantsCallSite = reader.Bool();
        var categories = new KeyValuePair<string, LogLevel>[reader.Count()];
        for (int i = 0; i < categories.Length; i++)
            categories[i] = new(reader.RequiredText(), Level(reader.Byte()));
        return new LogLevels(least, wantsCallSite, categories);
    }

    private static LogLevel Level(byte value) =>
        value <= (byte)LogLevel.None ? (LogLevel)value : throw new ProtocolViolationException($"{value} is no log level.");
}
