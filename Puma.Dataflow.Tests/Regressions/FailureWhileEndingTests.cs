using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>A stage whose end was decided elsewhere, and that had not been told yet, went on behind an item that had failed: its output had a hole.</summary>
public sealed class FailureWhileEndingTests : PipelineTest
{
    [Fact] // S18
    public async Task AnItemThatFails_WhenTheEndIsDecidedAndNotTold_IsTheLast()
    {
        ExpectFailure();
        List<int> seen = [];
        StageNode? work = null;
        Gate isKnown = new();
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Transform(x =>
            {
                isKnown.Block();
                if (x != 2)
                    return x;
                Assert.True(work!.TryDecideDiscard(DiscardReason.Canceled));
                throw new FormatException("the second one");
            }, new StageOptions { Name = "work" })
            .ForEach(seen.Add));
        for (int i = 1; i <= 5; i++)
            await run.SendAsync(i, TestToken);
        run.Complete();
        work = run.Graph.Nodes.Single(static n => n.Name == "work");
        isKnown.Open();

        PipelineReport report = await run.Report.Within();

        Assert.Equal([1], seen);
        Assert.Equal((1, 1), (report.Stage("work").Delivered, report.Stage("work").Failed));
        Assert.Contains(report.SecondaryErrors, static e => e is StageFaultedException { ItemNumber: 2 });
    }
}
