namespace Puma.Dataflow.Tests.Documentation;

/// <summary>Each stage has a page, and all pages have the same parts.</summary>
public sealed class StagePageTests
{
    private static readonly string[] Parts = ["About", "Usage", "Defaults", "Behaviour", "Pitfalls"];
    private static readonly string[] Lines = ["Emits", "Waits", "Completes", "Faults"];

    public static TheoryData<string> Pages => [.. Repository.Pages.Where(static p => p.StartsWith(Path.Combine("docs", "stages"), StringComparison.Ordinal))];

    [Theory]
    [MemberData(nameof(Pages))]
    public void Page_HasItsParts(string page)
    {
        string[] lines = Repository.ReadLines(page);

        Assert.Equal(Parts, lines.Where(static l => l.StartsWith("## ", StringComparison.Ordinal)).Select(static l => l[3..]));
        Assert.Equal(Lines, lines.Where(static l => l.StartsWith("- *", StringComparison.Ordinal)).Select(static l => l[3..l.IndexOf('*', 3)]).Where(Lines.Contains));
    }

    [Fact]
    public void Pages_AreThoseOfTheTableInTheReadme()
    {
        IEnumerable<string> linked = Repository.ReadTable("README.md", "Stage").Select(static row => row[0][(row[0].IndexOf('(', StringComparison.Ordinal) + 1)..].TrimEnd(')'));

        Assert.Equal(Repository.Pages.Where(static p => p.StartsWith(Path.Combine("docs", "stages"), StringComparison.Ordinal)).Select(static p => p.Replace('\\', '/')), linked.Order(StringComparer.Ordinal));
    }
}
