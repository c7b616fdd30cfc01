using Microsoft.Extensions.Logging;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

public sealed class LogItemsTests : PipelineTest
{
    private IEnumerable<LogRecord> Items => Log.Records.Where(static r => r.EventId.Id == 25);

    [Fact]
    public async Task LogItems_SaysEachItem_AtInformation_AndPassesItOn()
    {
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From(["a", "b"]).LogItems().ForEach(seen.Add), Options with { Name = "letters" });

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(["a", "b"], seen);
        Assert.Equal(
            [("Runnables.letters.log-items", LogLevel.Information, "Item 1: a"), ("Runnables.letters.log-items", LogLevel.Information, "Item 2: b")],
            Items.Select(static r => (r.Category, r.Level, r.Message)));
        Assert.Equal((2, 2), (report.Stage("log-items").Delivered, report.Stage("log-items").Emitted));
    }

    [Fact]
    public async Task LogItems_WhoseLevelIsOff_DoesNotFormat()
    {
        int formatted = 0;
        using var capture = new LogCapture(LogLevel.Information);
        PipelineRun run = Start(
            Pipeline.From([1, 2]).LogItems(LogLevel.Debug, x => $"{formatted++}").LogItems(LogLevel.None).ForEach(static _ => { }),
            Options with { LoggerFactory = capture });

        await run.Completion.Within();

        Assert.Equal(0, formatted);
        Assert.Empty(capture.Records);
    }

    [Fact] // S35
    public async Task LogItems_WhoseFormatThrows_IsAnErrorOfTheItem()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .LogItems(format: static x => x == 2 ? throw new FormatException() : $"{x}", options: new() { Name = "log", ErrorPolicy = ErrorPolicy.Skip })
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 3], seen);
        Assert.Equal((2, 1), (report.Stage("log").Delivered, report.Stage("log").Skipped));
    }

    [Fact]
    public async Task LogItems_WithSeveralInstances_NumbersEachItemOnce()
    {
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 100)).LogItems(options: new() { MaxDegreeOfParallelism = 4 }).ForEach(static _ => { }));

        await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 100).Select(static x => $"Item {x}: {x}").Order(StringComparer.Ordinal), Items.Select(static r => r.Message).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void LogItems_WithALevelThatIsNone_IsRefused() =>
        Assert.Throws<ArgumentOutOfRangeException>("level", static () => Pipeline.From([1]).LogItems((LogLevel)77));
}
