using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>What becomes of the items while a broadcast has no branch.</summary>
public sealed class NoBranchTests : AttachTest
{
    [Theory] // S47
    [InlineData(null)]
    [InlineData(NoBranches.Wait)]
    public async Task NoBranch_Wait_KeepsTheItemsForTheFirst(NoBranches? noBranches)
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan", BoundedCapacity = 5, NoBranches = noBranches }));
        await SendAsync(run, 1, 5);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("fan") is { SlotsHeld: 5, Activity: StageActivity.WaitingForOutput }, "the broadcast waits");
        Assert.False(run.TrySend(6));
        Assert.Contains("a branch", run.Snapshot().ToString(), StringComparison.Ordinal);
        Assert.Contains("waits for a branch", run.Snapshot().ToMermaid(), StringComparison.Ordinal);

        await AttachLateAsync(run);
        await SendAsync(run, 6, 8);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 8), Late);
        AssertCounts(report, "fan", accepted: 8, delivered: 8);
    }

    [Fact] // S10: an input that has ended does not end what waits for a branch
    public async Task NoBranch_Wait_KeepsTheItemsOfASourceThatHasEnded()
    {
        PipelineRun run = Start(Pipeline.From([1, 2, 3], new() { Name = "source" }).Broadcast(new StageOptions { Name = "fan" }));
        await run.Stage("source").Completion.Within();

        await AttachLateAsync(run);
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2, 3], Late);
        Assert.Equal((RunState.Completed, EndReason.InputEnded), (report.State, report.Stage("fan").EndReason));
    }

    [Fact]
    public async Task NoBranch_NoItems_EndsWithItsInput()
    {
        PipelineRun run = Start(Pipeline.From(Array.Empty<int>()).Broadcast());

        Assert.Equal(RunState.Completed, (await run.Completion.Within()).State);
    }

    [Fact] // S9, S23, S32: nobody can come any more
    public async Task NoBranch_Wait_CompleteDiscardsAndCounts()
    {
        Expect(21);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan" }));
        await SendAsync(run, 1, 5);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("fan").SlotsHeld == 5, "five wait");
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        AssertCounts(report, "fan", accepted: 5, discarded: 5);
        Assert.Equal(Enumerable.Range(1, 5).Select(static i => new DiscardedItem(i, DiscardReason.NoBranch, "fan")), Discarded);
    }

    [Fact] // S32, S47
    public async Task NoBranch_Discard_CountsWhatNobodyGets()
    {
        Expect(21);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan", NoBranches = NoBranches.Discard }));
        await SendAsync(run, 1, 5);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("fan").Discarded == 5, "five are discarded");

        BranchLease lease = await AttachLateAsync(run);
        await SendAsync(run, 6, 8);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("late").Delivered == 3, "three are delivered");
        await lease.DetachAsync().Within();
        await SendAsync(run, 9, 10);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([6, 7, 8], Late);
        AssertCounts(report, "fan", accepted: 10, delivered: 3, discarded: 7);
        Assert.All(Discarded, static d => Assert.Equal(DiscardReason.NoBranch, d.Reason));
    }

    [Fact] // S13
    public async Task LastBranchGone_End_EndsTheRunForLackOfDemand()
    {
        var joined = new Gate();
        PipelineRun run = Start(Pipeline.From(FaultTests.Naturals(), new() { Name = "source" })
            .Broadcast(new() { Name = "fan" }, b => b.Tap(_ => joined.WaitAsync(TestToken)).Take(3, new() { Name = "take" }).ForEach(Main.Add)));
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(Late.Add, new() { Name = "late" })).Within();
        joined.Open();
        await run.Stage("take").Completion.Within();
        long seen = run.Stage("late").Report().Delivered;
        await Waiting.UntilAsync(() => run.Stage("late").Report().Delivered > seen + 100, "the other branch goes on");
        Assert.False(run.Completion.IsCompleted);
        await lease.DetachAsync().Within();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal(EndReason.NoDemand, report.Stage("fan").EndReason);
        Assert.Equal(EndReason.NoDemand, report.Stage("source").EndReason);
    }

    [Fact] // S47: nothing is lost between two branches, and the second goes on counting
    public async Task LastBranchDetached_Wait_KeepsTheItemsForTheNext_AlsoOfTheSameName()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan" }));
        for (int round = 0; round < 3; round++)
        {
            BranchLease lease = await AttachLateAsync(run);
            await SendAsync(run, (round * 10) + 1, (round * 10) + 5);
            await Waiting.UntilAsync(() => run.Snapshot().Stage("late").Delivered >= (round * 10) + 5, "the branch has them");
            await lease.DetachAsync().Within();
            Assert.Equal(StageState.Completed, run.Stage("late").State);
            await SendAsync(run, (round * 10) + 6, (round * 10) + 10);
        }

        await AttachLateAsync(run);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 30), Late);
        AssertCounts(report, "late", accepted: 30, delivered: 30);
        Assert.Equal((30, 30), (report.Stage("fan").Emitted, report.Links.Single(static l => l.To == "late").Received));
    }

    [Fact] // S47: the item that the only branch had no room for waits for the next branch
    public async Task LastBranchDetached_WhileAnItemWaitsForItsSlot_KeepsTheItem()
    {
        var gate = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan" }));
        BranchLease stuck = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(
            async x =>
            {
                await gate.WaitAsync();
                Main.Add(x);
            },
            new() { Name = "stuck", BoundedCapacity = 2 })).Within();
        await SendAsync(run, 1, 4);
        await UntilWaitingForOutputAsync(run, "fan");
        Task detaching = stuck.DetachAsync();
        await AttachLateAsync(run);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("late").Delivered == 2, "the next branch has the rest");
        Assert.False(detaching.IsCompleted);
        gate.Open();
        await detaching.Within();
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2], Main);
        Assert.Equal([3, 4], Late);
        AssertCounts(report, "fan", accepted: 4, delivered: 4);
    }

    [Fact]
    public void NoBranches_EndWithoutABranch_IsRefusedByBuild()
    {
        var refused = Assert.Throws<PipelineBuildException>(static () => Pipeline.From([1]).Broadcast(new StageOptions { NoBranches = NoBranches.End }).Build());
        Assert.Contains("would end at once", Assert.Single(refused.Problems), StringComparison.Ordinal);
        refused = Assert.Throws<PipelineBuildException>(static () => Pipeline.From([1]).Broadcast(new StageOptions { NoBranches = (NoBranches)42 }).Build());
        Assert.Contains("NoBranches is 42", Assert.Single(refused.Problems), StringComparison.Ordinal);
    }

    [Fact] // S28
    public async Task NoBranch_Wait_IsToldOfWhenItLasts()
    {
        Expect(30);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan" }), FakeTimeOptions);
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("fan").Activity == StageActivity.WaitingForOutput, "the broadcast waits");
        for (int i = 0; i < 10; i++)
            Time.Advance(TimeSpan.FromSeconds(10));

        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 30), "the standstill is told");

        Assert.Contains("'fan' waits for a branch", Log.Records.First(static r => r.EventId.Id == 30).Message, StringComparison.Ordinal);
        await AttachLateAsync(run);
        run.Complete();
        await run.Completion.Within();
        Assert.Equal([1], Late);
    }
}
