using System.Text.RegularExpressions;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>CHANGELOG.md has the version that is built.</summary>
public sealed partial class ChangelogTests
{
    [Fact]
    public void TheNewestVersion_IsTheOneThatIsBuilt()
    {
        string built = Prefix().Match(File.ReadAllText(Path.Combine(Repository.Root, "Directory.Build.props"))).Groups[1].Value;
        List<string> headings = [.. Repository.ReadLines("CHANGELOG.md").Where(static l => l.StartsWith("## ", StringComparison.Ordinal))];

        Assert.Equal("## [Unreleased]", headings[0]);
        Assert.Matches($@"^## \[{Regex.Escape(built)}\] - \d{{4}}-\d{{2}}-\d{{2}}$", headings[1]);
    }

    [GeneratedRegex("<VersionPrefix>(.*)</VersionPrefix>")]
    private static partial Regex Prefix();
}
