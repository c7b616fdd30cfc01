using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>Items of a key that wait behind another of the same key have been read, but have not started.</summary>
public sealed class PartitionTests : LifecycleTest
{
    [Theory] // S18
    [InlineData(true)]
    [InlineData(false)]
    public async Task PartitionedStage_FailsWhileALowerItemWaitsForItsInstance_Ends(bool isOrdered)
    {
        ExpectFailure();
        var first = new Gate();
        var failed = new Gate();
        List<int> seen = [];

        // 1 and 3 are of one key, 2 of another: 2 fails while 1 runs; then 3 and the later 1s must not be waited for.
        PipelineRun run = Start(Pipeline.From([0, 2, 1], new() { Name = "source" })
            .PartitionBy(static x => x % 2)
            .Then(() => new Body(async x =>
            {
                if (x == 0)
                {
                    await first.WaitAsync();
                }
                else if (x == 1)
                {
                    failed.Open();
                    throw new FormatException();
                }
            }), new() { Name = "work", MaxDegreeOfParallelism = 2, EnsureOrdered = isOrdered })
            .ForEach(seen.Add, new() { Name = "sink" }));
        await failed.WaitAsync();
        first.Open();

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("work", 3), (fault.Stage, fault.ItemNumber));
        if (isOrdered)
        {
            Assert.Equal([0, 2], seen);
            AssertCounts(await run.Report, "work", accepted: 3, delivered: 2, failed: 1);
        }
    }

    [Fact] // S13
    public async Task PartitionedStage_IsFinishedWhileItemsWaitForTheirInstance_Ends()
    {
        var gate = new Gate();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .PartitionBy(static _ => 0)
            .Then(() => new Body(_ => gate.WaitAsync()), new() { Name = "work", MaxDegreeOfParallelism = 2 })
            .ForEach(seen.Add, new() { Name = "sink" }));
        for (int i = 1; i <= 5; i++)
            await run.SendAsync(i, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Links.Single(static l => l.To == "work").Received == 1, "the first item runs");

        Task finishing = run.Stage("work").FinishAsync();
        Assert.False(finishing.IsCompleted);
        gate.Open();

        await finishing.Within();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal((StageState.Completed, EndReason.Finished), (report.Stage("work").State, report.Stage("work").EndReason));
        Assert.Equal([1], seen);
        AssertCounts(report, "work", accepted: 5, delivered: 1, discarded: 4);
    }

    private sealed class Body(Func<int, Task> action) : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await action(item);
            await EmitAsync(item, cancellationToken);
        }
    }
}
