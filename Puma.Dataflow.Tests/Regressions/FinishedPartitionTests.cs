using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// A partitioned stage that finished early left out items that waited for the instance of their key, but passed on later ones of other
/// keys: a hole in an ordered, completed stream.
/// </summary>
public sealed class FinishedPartitionTests : PipelineTest
{
    [Theory] // S13
    [InlineData(true)]
    [InlineData(false)]
    public async Task Partition_FinishedWhileAnItemWaitsForItsInstance_PassesOnNothingBehindItInOrder(bool isOrdered)
    {
        List<string> seen = [];
        Gate first = new(), third = new();
        PipelineRun run = Start(Pipeline.From<(int Key, string Name)>([(0, "first"), (0, "second"), (1, "third")])
            .PartitionBy(static x => x.Key)
            .Then(() => new Passing(first, third), new() { Name = "pool", MaxDegreeOfParallelism = 2, EnsureOrdered = isOrdered })
            .ForEach(seen.Add));
        await third.WaitAsync();

        Task finished = run.Stage("pool").FinishAsync();
        first.Open();
        await finished.Within();
        PipelineReport report = await run.Completion.Within();

        // The stage may have begun one more item before it saw that it is to finish.
        string[] inOrder = ["first", "second", "third"];
        if (isOrdered)
            Assert.Equal(inOrder.Take(seen.Count), seen);
        Assert.Equal(inOrder.Length - seen.Count, report.Stage("pool").Discarded);
        Assert.Equal(EndReason.Finished, report.Stage("pool").EndReason);
    }

    private sealed class Passing(Gate first, Gate third) : Runnable<(int Key, string Name), string>
    {
        protected override async ValueTask OnItemAsync((int Key, string Name) item, CancellationToken cancellationToken)
        {
            if (item.Name == "first")
                await first.WaitAsync(CancellationToken.None);
            await EmitAsync(item.Name, cancellationToken);
            if (item.Name == "third")
                third.Open();
        }
    }
}
