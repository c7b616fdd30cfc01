using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// That an item was left out is said by the library, not by the user's code: in the category of user code the default logging shows it,
/// with a stack trace for each item that its owner had told the stage to expect.
/// </summary>
public sealed class ItemLogCategoryTests : PipelineTest
{
    [Fact] // S35
    public async Task LeftOutItem_IsLogged_InTheCategoryOfTheLibrary()
    {
        PipelineRun run = Start(Pipeline
            .From([1])
            .Transform(static int (int x) => throw new FormatException("bad item"), new() { ErrorPolicy = ErrorPolicy.Skip })
            .ForEach(static _ => { }));

        await run.Completion.Within();

        LogRecord skipped = Assert.Single(Log.Records, static r => r.EventId.Id == 23);
        Assert.StartsWith("Puma.Dataflow.", skipped.Category, StringComparison.Ordinal);
    }

    [Fact] // S35
    public async Task DeadLetter_IsLogged_InTheCategoryOfTheLibrary()
    {
        PipelineRun run = Start(Pipeline
            .From([1])
            .Transform(static int (int x) => throw new FormatException("bad item"), new() { ErrorPolicy = ErrorPolicy.DeadLetter<int>(static (_, _) => default) })
            .ForEach(static _ => { }));

        await run.Completion.Within();

        LogRecord deadLettered = Assert.Single(Log.Records, static r => r.EventId.Id == 24);
        Assert.StartsWith("Puma.Dataflow.", deadLettered.Category, StringComparison.Ordinal);
    }
}
