using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>Items were said to be discarded because of a fault where none was, or for lack of demand where a full branch had failed.</summary>
public sealed class DiscardReasonTests : LifecycleTest
{
    [Fact] // S13, S33
    public async Task LetterToATargetThatHasFinished_IsNotWanted()
    {
        var letters = new BufferBlock<DeadLetter>();
        letters.Complete();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static (int _) => throw new FormatException(), new() { Name = "work", ErrorPolicy = ErrorPolicy.DeadLetter(letters) }));
        await run.Stage("dead-letters").Completion.Within();
        await run.SendAsync(1, TestToken);
        run.Complete();

        AssertCounts(await run.Completion.Within(), "work", accepted: 1, discarded: 1);

        Assert.Equal(new DiscardedItem(1, DiscardReason.NoDemand, "work"), Assert.Single(Discarded));
    }

    [Theory] // S14, S47
    [InlineData(true)]
    [InlineData(false)]
    public async Task ItemThatMeetsAFullBranch_IsTheOneThatFails(bool isRoute)
    {
        ExpectFailure();
        var started = new Gate();
        PipelineEnd<BranchInput> Slow(BranchBuilder<int> branch) => branch.WhenFull(FullMode.Fail, 1).ForEach(
            async (_, ct) =>
            {
                started.Open();
                await new Gate().WaitAsync(ct);
            },
            new() { Name = "slow" });
        PipelineBuilder<int, int> accept = Pipeline.Accept<int>();
        PipelineRun<int> run = Start(isRoute
            ? accept.Route(new() { Name = "fan" }).When(static _ => true, Slow).Otherwise(static b => b.ForEach(static _ => { }))
            : accept.Broadcast(new StageOptions { Name = "fan" }, Slow, static b => b.ForEach(static _ => { })));
        await run.SendAsync(1, TestToken);
        await started.WaitAsync();
        await run.SendAsync(2, TestToken);
        await UntilFaultingAsync(run);
        run.Cancel();

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("fan", 2), (fault.Stage, fault.ItemNumber));
        Assert.Contains(new DiscardedItem(2, DiscardReason.Faulted, "fan"), Discarded);
        AssertCounts(await run.Report, "fan", accepted: 2, delivered: 1, discarded: 1);
    }

    [Fact]
    public async Task Batch_OfTheHeaviestItem_HoldsNothingElse()
    {
        List<int[]> batches = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3]).Batch(10, weight: static x => x == 2 ? long.MaxValue : 1).ForEach(batches.Add));

        await run.Completion.Within();

        Assert.Equal([[1], [2], [3]], batches);
    }
}
