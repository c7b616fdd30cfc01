using System.Text.RegularExpressions;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>Links from page to page, and to files, lead somewhere.</summary>
public sealed partial class LinkTests
{
    public static TheoryData<string> Pages => [.. Repository.Pages];

    [Theory]
    [MemberData(nameof(Pages))]
    public void RelativeLinks_LeadToAFileAndAHeading(string page)
    {
        string text = Code().Replace(File.ReadAllText(Path.Combine(Repository.Root, page)), "");
        foreach (string target in Link().Matches(text).Select(static m => m.Groups[1].Value))
        {
            if (target.Contains("://", StringComparison.Ordinal) || target.StartsWith("mailto:", StringComparison.Ordinal))
                continue;
            string[] parts = target.Split('#', 2);
            string path = parts[0].Length == 0 ? page : Path.Combine(Path.GetDirectoryName(page)!, parts[0]);
            string full = Path.GetFullPath(Path.Combine(Repository.Root, path));
            Assert.True(Path.Exists(full), $"{page}: '{target}' leads to no file.");
            Assert.False(Path.GetRelativePath(Repository.Root, full).StartsWith("..", StringComparison.Ordinal), $"{page}: '{target}' leads out of the project.");
            if (parts.Length == 2)
                Assert.True(Anchors(full).Contains(parts[1]), $"{page}: '{target}' leads to no heading.");
        }
    }

    [Fact]
    public void PagesOfPackages_HaveNoRelativeLinks() =>
        Assert.DoesNotContain(
            Repository.PackagePages.Append("CHANGELOG.md").SelectMany(static page => Link().Matches(Code().Replace(string.Join('\n', Repository.ReadLines(page)), "")).Select(m => $"{page}: {m.Groups[1].Value}")),
            static link => !link.Contains("://", StringComparison.Ordinal));

    private static HashSet<string> Anchors(string path) =>
        [.. File.ReadAllLines(path).Where(static l => l.StartsWith('#')).Select(static l => NoWord().Replace(l.TrimStart('#').Trim().ToLowerInvariant(), "").Replace(' ', '-'))];

    [GeneratedRegex(@"```.*?```|`[^`\n]*`", RegexOptions.Singleline)]
    private static partial Regex Code();

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"[^\w\- ]")]
    private static partial Regex NoWord();
}
