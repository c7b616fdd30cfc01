using System.Reflection;
using System.Text.RegularExpressions;
using Xunit.v3;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>docs/from-puma-scenarios.md says of each scenario of PUMA which test covers it, or why there is none.</summary>
public sealed partial class FromPumaPageTests
{
    private const string Page = "docs/from-puma-scenarios.md";

    // The numbers that were never given are missing.
    private static readonly string[] Gaps = ["G1", "G2", "G3", "G4", "G5", "G7", "G9", "G10", "G11", "G14", "G15", "G16", "G18", "G19", "G22", "G24", "G25"];

    // Number, star and all, to the rest of the row: what happens, the tests, what is to be said.
    private static readonly List<string[]> Rows = [.. Repository.ReadTable(Page, "Scenario"), .. Repository.ReadTable(Page, "Gap")];

    [Fact]
    public void Tables_HaveEveryScenarioOnce() =>
        Assert.Equal([.. Enumerable.Range(1, 161).Select(static n => $"{n}"), .. Gaps], Rows.Select(NumberOf));

    [Fact]
    public void EveryScenario_HasATestOrAReason()
    {
        Assert.All(Rows, static row => Assert.True(row.Length == 4, $"Row {row[0]} must have four cells."));
        Assert.Empty(Rows.Where(static row => !TestsOf(row).Any() && row[3].Length == 0).Select(NumberOf));
        Assert.DoesNotContain(Rows, static row => row.Any(static cell => cell.Contains("not tested yet", StringComparison.OrdinalIgnoreCase)));
    }

    [Fact]
    public void TheMostImportant25_HaveATest()
    {
        List<string[]> important = [.. Rows.Where(static row => row[0].Contains('★', StringComparison.Ordinal))];

        Assert.Equal(25, important.Count);
        Assert.Empty(important.Where(static row => !TestsOf(row).Any()).Select(NumberOf));
    }

    [Fact]
    public void NamedTests_Exist()
    {
        HashSet<string> tests =
        [
            .. from type in typeof(FromPumaPageTests).Assembly.GetTypes()
               from method in type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
               where method.GetCustomAttributes().OfType<IFactAttribute>().Any()
               select $"{type.Name}.{method.Name}",
        ];

        Assert.Empty(Rows.SelectMany(row => TestsOf(row).Where(test => !tests.Contains(test)).Select(test => $"{NumberOf(row)}: {test}")));
    }

    [Fact]
    public void TestsThatCiteAScenario_AreInItsRow()
    {
        var named = Rows.ToDictionary(NumberOf, static row => TestsOf(row).ToHashSet());
        IEnumerable<(string Number, string Test)> citations =
            from test in TestComments.All
            from citation in Cited().Matches(test.Comment)
            from number in Number().Matches(citation.Value)
            select (number.Value, test.Test);

        Assert.DoesNotContain(citations, c => !named.TryGetValue(c.Number, out HashSet<string>? tests) || !tests.Contains(c.Test));
    }

    private static string NumberOf(string[] row) => row[0].TrimEnd(' ', '★');

    private static IEnumerable<string> TestsOf(string[] row) => TestName().Matches(row[2]).Select(static m => m.Groups[1].Value);

    [GeneratedRegex(@"`(\w+\.\w+)`")]
    private static partial Regex TestName();

    [GeneratedRegex(@"Puma\s+G?\d+(?:\s*,\s*(?:Puma\s+)?G?\d+\b)*")]
    private static partial Regex Cited();

    [GeneratedRegex(@"G?\d+")]
    private static partial Regex Number();
}
