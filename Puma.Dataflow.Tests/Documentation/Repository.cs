using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>The files of the project, as they are beside this one.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    /// <summary>The pages that the packages show; who reads them there has nothing else of the project.</summary>
    public static IReadOnlyList<string> PackagePages { get; } = ["Puma.Dataflow/PackageReadme.md", "Puma.Dataflow.Testing/PackageReadme.md"];

    /// <summary>README.md, the other pages of the top folder, all of docs/ and the pages of the packages, with paths relative to the root.</summary>
    public static IReadOnlyList<string> Pages { get; } =
    [
        .. Directory.GetFiles(Root, "*.md").Concat(Directory.GetFiles(Path.Combine(Root, "docs"), "*.md", SearchOption.AllDirectories))
            .Select(static path => Path.GetRelativePath(Root, path))
            .Concat(PackagePages)
            .Order(StringComparer.Ordinal),
    ];

    public static string[] ReadLines(string path) => File.ReadAllLines(Path.Combine(Root, path));

    /// <summary>The C# files below a folder, without what was built.</summary>
    public static IEnumerable<string> Sources(string folder) =>
        Directory.GetFiles(Path.Combine(Root, folder), "*.cs", SearchOption.AllDirectories)
            .Select(static path => Path.GetRelativePath(Root, path).Replace('\\', '/'))
            .Where(static path => !path.Contains("/obj/", StringComparison.Ordinal) && !path.Contains("/bin/", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal);

    /// <summary>The cells of the rows of a table, by the text of its first heading cell.</summary>
    public static List<string[]> ReadTable(string path, string firstHeading)
    {
        string[] lines = ReadLines(path);
        int start = Array.FindIndex(lines, l => l.StartsWith($"| {firstHeading} |", StringComparison.Ordinal));
        Assert.True(start >= 0, $"{path} has no table that begins with '{firstHeading}'.");
        return [.. lines.Skip(start + 2).TakeWhile(static l => l.StartsWith('|')).Select(static l => l.Trim('|').Split('|', StringSplitOptions.TrimEntries))];
    }

    private static string FindRoot([CallerFilePath] string thisFile = "")
    {
        string? folder = Path.GetDirectoryName(thisFile);
        while (folder is not null && !File.Exists(Path.Combine(folder, "Puma.Dataflow.slnx")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException($"No Puma.Dataflow.slnx above {thisFile}.");
    }
}
