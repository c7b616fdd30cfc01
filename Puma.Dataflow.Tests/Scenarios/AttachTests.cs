using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Branches that join a broadcast while the run goes on.</summary>
public sealed class AttachTests : AttachTest
{
    [Fact] // S47, Puma 61
    public async Task LateBranch_GetsEveryItemAfterItsJoin_AndNoneBefore()
    {
        PipelineRun<int> run = StartWithMain();
        await SendAsync(run, 1, 10);
        await UntilMainHasAsync(run, 10);

        BranchLease lease = await AttachLateAsync(run);
        await SendAsync(run, 11, 20);
        await UntilMainHasAsync(run, 20);
        await lease.DetachAsync().Within();
        await SendAsync(run, 21, 30);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 30), Main);
        Assert.Equal(Enumerable.Range(11, 10), Late);
        Assert.Equal("late", lease.Name);
        await lease.Completion.Within();
        AssertCounts(report, "fan", accepted: 30, delivered: 30);
        AssertCounts(report, "late", accepted: 10, delivered: 10);
        Assert.Equal(40, report.Stage("fan").Emitted);
        Assert.Equal((StageState.Completed, EndReason.InputEnded), (report.Stage("late").State, report.Stage("late").EndReason));
        Assert.Equal(10, report.Links.Single(static l => l is { From: "fan", To: "late" }).Sent);
    }

    [Fact] // S47: whenever it joins and leaves, it has an unbroken run of items
    public async Task LateBranch_WhileItemsRace_GetsAnUnbrokenRunOfThem()
    {
        PipelineRun run = Start(Pipeline.From(FaultTests.Naturals()).Broadcast(new() { Name = "fan" }, b => b.ForEach(static _ => { }, new() { Name = "main" })));
        for (int round = 0; round < 200; round++)
        {
            List<int> seen = [];
            BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(seen.Add, new() { Name = "late", BoundedCapacity = 1 + (round % 7) })).Within();
            if (round % 3 != 0)
                await Waiting.UntilAsync(() => run.Stage("late").Report().Delivered > round % 5, "the branch has some");
            await lease.DetachAsync().Within();
            Assert.Equal(Enumerable.Range(seen.FirstOrDefault(), seen.Count), seen);
        }

        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal(RunState.Completed, report.State);
        Assert.Single(report.Stages, static s => s.Name == "late");
    }

    [Fact] // S1, S8: the branch is part of the run
    public async Task LateBranch_IsInTheReport_AndTheRunEndsWithIt()
    {
        var gate = new Gate();
        PipelineRun<int> run = StartWithMain();
        await run.Broadcast<int>("fan").AttachAsync(b => b.Named("audit").Transform(static x => -x, new() { Name = "negate" }).ForEach(
            async x =>
            {
                await gate.WaitAsync();
                Late.Add(x);
            },
            new() { Name = "late" }));
        Assert.Equal(StageState.Running, run.Stage("negate").State);
        await run.SendAsync(1, TestToken);
        run.Complete();
        await run.Stage("main").Completion.Within();
        await run.Stage("negate").Completion.Within();

        Assert.Equal(RunState.Draining, run.State);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("late").InFlight == 1, "the item is in work");
        gate.Open();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([-1], Late);
        Assert.Equal(["fan", "main", "negate", "late"], report.Stages.Select(static s => s.Name).Where(static n => n != "entry"));
    }

    [Fact] // another branch takes the name between the choice and the admission
    public async Task LateBranchWithoutAName_HasThatOfItsFirstStage_AlsoWhenItWasChosenAnew()
    {
        PipelineRun<int> run = null!;
        Task<BranchLease>? other = null;
        bool isAttachingOther = false;
        run = StartWithMain(Options with
        {
            LoggerFactory = new HookedLog(Log, static (_, _) => { }, category =>
            {
                if (isAttachingOther || !category.EndsWith(".for-each", StringComparison.Ordinal))
                    return;
                isAttachingOther = true;
                other = run.Broadcast<int>("fan").AttachAsync(static b => b.ForEach(static _ => { }), TestToken);
            }),
        });

        BranchLease late = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(Late.Add), TestToken).Within();
        BranchLease first = await other!.Within();
        await run.SendAsync(1, TestToken);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(("for-each", "for-each-2"), (first.Name, late.Name));
        Assert.Equal(1, report.Stage(late.Name).Delivered);
    }

    [Fact] // a pipeline is a description
    public async Task LateBranch_BelongsToItsRunAlone()
    {
        Pipeline<int> pipeline = Pipeline.Accept<int>().Broadcast(new() { Name = "fan" }, b => b.ForEach(static _ => { }, new() { Name = "main" })).Build(Options);
        PipelineRun<int> first = Watch(pipeline.Start()), second = Watch(pipeline.Start());

        await first.Broadcast<int>("fan").AttachAsync(b => b.ForEach(Late.Add, new() { Name = "late" })).Within();
        await second.SendAsync(1, TestToken);
        first.Complete();
        second.Complete();
        await first.Completion.Within();
        PipelineReport report = await second.Completion.Within();

        Assert.Empty(Late);
        Assert.DoesNotContain(report.Stages, static s => s.Name == "late");
    }
}
