using System.Globalization;
using System.Text.RegularExpressions;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>
/// docs/semantics.md has every rule, and every rule that is in this version has tests. The table of tests is made from the comments of
/// the tests: set the environment variable UPDATE_DOCS to 1 and run this class to write it anew.
/// </summary>
public sealed partial class SemanticsPageTests
{
    private const string Page = "docs/semantics.md";
    private const string TableStart = "| Rule | Tests |";
    private const int LastRule = 50;

    private static readonly HashSet<(int Rule, string Test)> Citations = [.. FindCitations()];

    [Fact]
    public void Page_HasEveryRuleOnce()
    {
        IEnumerable<int> rules = Repository.ReadLines(Page).Select(static l => RuleLine().Match(l)).Where(static m => m.Success).Select(static m => Number(m.Groups[1].Value));

        Assert.Equal(Enumerable.Range(1, LastRule), rules.Order());
    }

    [Fact]
    public void RulesInThisVersion_AreCitedByATest()
    {
        HashSet<int> cited = [.. Citations.Select(static c => c.Rule)];

        Assert.Equal("", string.Join(", ", RulesInThisVersion().Where(r => !cited.Contains(r)).Select(static r => $"S{r}")));
    }

    [Fact]
    public void CitedRules_Exist() =>
        Assert.Equal("", string.Join(", ", Citations.Where(static c => c.Rule is < 1 or > LastRule).Select(static c => $"{c.Test} cites S{c.Rule}")));

    [Fact]
    public void NamedTests_ExistAndCiteTheRule()
    {
        if (Environment.GetEnvironmentVariable("UPDATE_DOCS") == "1")
            WriteTable();
        var told = new HashSet<int>();
        foreach (string[] row in Repository.ReadTable(Page, "Rule"))
        {
            int rule = Number(row[0][1..]);
            Assert.True(told.Add(rule), $"{Page} has two rows of {row[0]}.");
            foreach (string test in NamedTests(row[1]))
                Assert.True(Citations.Contains((rule, test)), $"{Page} names {test} for S{rule}, which does not exist or does not cite the rule. Write the table anew (see CONTRIBUTING.md).");
        }

        Assert.Equal(RulesInThisVersion(), told.Order());
    }

    private static List<int> RulesInThisVersion() =>
        [.. Repository.ReadLines(Page).Select(static l => RuleLine().Match(l)).Where(static m => m.Success && !m.Groups[2].Value.Contains("*Not in this version.*", StringComparison.Ordinal)).Select(static m => Number(m.Groups[1].Value)).Order()];

    private static IEnumerable<string> NamedTests(string cell) =>
        from part in cell.Split("; ")
        let link = ClassLink().Match(part)
        where link.Success
        from test in part[(link.Index + link.Length)..].TrimStart(':', ' ').Split(", ")
        select $"{link.Groups[1].Value}.{test.Trim('`')}";

    private static void WriteTable()
    {
        List<string> lines = [.. Repository.ReadLines(Page)];
        int start = lines.IndexOf(TableStart) + 2;
        int end = lines.FindIndex(start, static l => !l.StartsWith('|'));
        lines.RemoveRange(start, (end < 0 ? lines.Count : end) - start);
        lines.InsertRange(start, RulesInThisVersion().Select(static rule => $"| S{rule} | {Cell(rule)} |"));
        File.WriteAllText(Path.Combine(Repository.Root, Page), string.Join('\n', lines) + "\n");
    }

    private static string Cell(int rule)
    {
        var classes = Citations.Where(c => c.Rule == rule).Select(static c => c.Test).Distinct()
            .Select(static t => (Class: t[..t.IndexOf('.', StringComparison.Ordinal)], Method: t[(t.IndexOf('.', StringComparison.Ordinal) + 1)..]))
            .GroupBy(static t => t.Class, static t => t.Method)
            .OrderBy(static g => g.Key, StringComparer.Ordinal);
        return string.Join("; ", classes.Select(static g => $"**{g.Key}**: {string.Join(", ", g.Order(StringComparer.Ordinal).Select(static m => $"`{m}`"))}"));
    }

    /// <summary>The rules that each test cites.</summary>
    private static IEnumerable<(int Rule, string Test)> FindCitations() =>
        from test in TestComments.All
        from citation in Cited().Matches(test.Comment)
        from rule in Range(citation.Groups[1].Value, citation.Groups[2].Value)
        select (rule, test.Test);

    private static IEnumerable<int> Range(string first, string last) =>
        last.Length == 0 ? [Number(first)] : Enumerable.Range(Number(first), Number(last) - Number(first) + 1);

    private static int Number(string digits) => int.Parse(digits, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^- \*\*S(\d+)\*\*(.*)$")]
    private static partial Regex RuleLine();

    [GeneratedRegex(@"\*\*(\w+)\*\*")]
    private static partial Regex ClassLink();

    [GeneratedRegex(@"\bS(\d+)(?:\s*[-–]\s*S(\d+))?\b")]
    private static partial Regex Cited();
}
