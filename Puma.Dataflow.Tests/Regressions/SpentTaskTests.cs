using System.Threading.Tasks.Sources;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>A task that user code returns may fail when it is looked at, because it was used up before: that is an error of the item, and not of the stage.</summary>
public sealed class SpentTaskTests : LifecycleTest
{
    [Theory] // S30, S35
    [InlineData(LinkKind.Burst)]
    [InlineData(LinkKind.BufferBlock)]
    public async Task ATaskThatCannotBeLookedAt_IsAnErrorOfItsItem(LinkKind links)
    {
        PipelineRun run = Start(
            Pipeline.From([1, 2, 3]).ForEach(static x => x == 2 ? new ValueTask(new Spent(), 0) : default, new() { Name = "sink", ErrorPolicy = ErrorPolicy.Skip }),
            Options with { Links = links });

        AssertCounts(await run.Completion.Within(), "sink", accepted: 3, delivered: 2, skipped: 1);
    }

    private sealed class Spent : IValueTaskSource
    {
        public ValueTaskSourceStatus GetStatus(short token) => throw new InvalidOperationException("It was used before.");

        public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) => throw new InvalidOperationException("It was used before.");

        public void GetResult(short token) => throw new InvalidOperationException("It was used before.");
    }
}
