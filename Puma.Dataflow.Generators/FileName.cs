using System.Globalization;

namespace Puma.Dataflow.Generators;

/// <summary>The name of the generated file of an interface: readable, valid on any system, and the same in each build.</summary>
internal static class FileName
{
    private const int ReadableLength = 80;

    public static string Of(string type)
    {
        string readable = new([.. type.Replace("global::", "").Select(static c => c is '.' or (>= 'a' and <= 'z') or (>= 'A' and <= 'Z') or (>= '0' and <= '9') ? c : '_')]);
        if (readable.Length > ReadableLength)
            readable = readable.Substring(readable.Length - ReadableLength);
        return $"{readable}-{Hash(type).ToString("x16", CultureInfo.InvariantCulture)}.g.cs";
    }

    /// <summary>FNV-1a. File names do not distinguish case, and what is readable leaves out what tells types apart.</summary>
    private static ulong Hash(string text) => text.Aggregate(14695981039346656037UL, static (hash, c) => unchecked((hash ^ c) * 1099511628211UL));
}
