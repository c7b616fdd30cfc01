using Puma.Dataflow.Tests.Generators;

namespace Puma.Dataflow.Tests.Documentation;

/// <summary>The page lists what the generator refuses.</summary>
public sealed class ControlDiagnosticsPageTests
{
    [Fact]
    public void Page_ListsTheDiagnostics() =>
        Assert.Equal(
            DiagnosticTests.Descriptors.Select(static d => $"{d.Id}: {d.Title}"),
            Repository.ReadTable(Path.Combine("docs", "control-diagnostics.md"), "Id").Select(static row => $"{row[0]}: {row[1]}"));

    [Fact]
    public void EveryDiagnostic_SaysWhatToDo() =>
        Assert.All(DiagnosticTests.Descriptors, static d => Assert.Contains(": ", d.MessageFormat.ToString(System.Globalization.CultureInfo.InvariantCulture), StringComparison.Ordinal));
}
