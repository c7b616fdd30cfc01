using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>docs/isolation.md lists every way in which the tests harm a child, each with a test that exists, and every way in which a child can end.</summary>
public sealed class IsolationPageTests
{
    private const string Page = "docs/isolation.md";

    [Fact]
    public void ChaosTable_HasEveryKindOnce()
    {
        IEnumerable<string> told = Repository.ReadTable(Page, $"`{nameof(ChaosKind)}`").SelectMany(static row => Codes(row[0]));

        Assert.Equal(Enum.GetNames<ChaosKind>().Except([nameof(ChaosKind.None)]).Order(StringComparer.Ordinal), told.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void ChaosTable_NamesTestsThatExist()
    {
        foreach (string test in Repository.ReadTable(Page, $"`{nameof(ChaosKind)}`").SelectMany(static row => Codes(row[^1])))
        {
            string[] parts = test.Split('.');
            Type? type = typeof(IsolationPageTests).Assembly.GetTypes().SingleOrDefault(t => t.Name == parts[0]);
            Assert.True(type?.GetMethod(parts[1])?.GetCustomAttributes(typeof(FactAttribute), inherit: false).Length == 1, $"{Page} names {test}, which is no test.");
        }
    }

    [Fact]
    public void EndTable_HasEveryReason()
    {
        IEnumerable<string> told = Repository.ReadTable(Page, "Cause").SelectMany(static row => Codes(row[1])).Distinct();

        Assert.Equal(Enum.GetNames<ChildExitReason>().Except([nameof(ChildExitReason.Stopped)]).Order(StringComparer.Ordinal), told.Order(StringComparer.Ordinal));
    }

    /// <summary>What stands between back ticks.</summary>
    private static IEnumerable<string> Codes(string cell) => cell.Split('`').Where(static (_, i) => i % 2 == 1);
}
