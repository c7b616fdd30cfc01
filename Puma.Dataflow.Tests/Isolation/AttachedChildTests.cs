using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Branches that are attached while the run goes on, and whose stages live elsewhere.</summary>
public sealed class AttachedChildTests : ChildTest
{
    public static TheoryData<Placement> Elsewhere => [Placement.Loopback, Placement.ChildProcess];

    [Theory] // S1, S47
    [MemberData(nameof(Elsewhere))]
    public async Task LateBranch_Elsewhere_GetsItsItems_AndItsProcessIsGoneWithIt(Placement placement)
    {
        List<int> main = [], late = [];
        PipelineRun<int> run = StartWithMain(main);
        for (int round = 0; round < 2; round++)
        {
            await run.SendAsync((10 * round) + 1, TestToken);
            await Waiting.UntilAsync(() => run.Stage("main").Report().Delivered == main.Count && main.Count == (5 * round) + 1, "main has it");
            BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.Transform(static x => -x, new() { Name = "negate", Placement = placement }).ForEach(late.Add, new() { Name = "late" })).Within();
            Assert.Equal(placement is ChildProcessPlacement ? 1 : 0, Children().Count);
            for (int i = 2; i <= 5; i++)
                await run.SendAsync((10 * round) + i, TestToken);
            await Waiting.UntilAsync(() => main.Count == (5 * round) + 5, "main has them");
            await lease.DetachAsync().Within();
            Assert.Empty(Children());
        }

        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([-2, -3, -4, -5, -12, -13, -14, -15], late);
        Assert.Equal(8, report.Stage("negate").Delivered);
    }

    [Theory] // S14, S36
    [MemberData(nameof(Elsewhere))]
    public async Task LateBranch_ThatCannotStartElsewhere_IsRefused_AndHarmsNobodyElse(Placement placement)
    {
        List<int> main = [];
        PipelineRun<int> run = StartWithMain(main);

        StageFaultedException failure = await Assert.ThrowsAsync<StageFaultedException>(() => run.Broadcast<int>("fan").AttachAsync(b => b
            .Then(static () => new StartFails(), new() { Name = "late", Placement = placement })
            .Transform(static x => x, new() { Name = "behind", Placement = placement })
            .ForEach(static _ => { })).Within());

        Assert.Equal("late", failure.Stage);
        Assert.True(failure.IsCausedBy<FormatException>());
        Assert.Empty(Children());
        await run.SendAsync(1, TestToken);
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal([1], main);
        Assert.Empty(report.SecondaryErrors);
        Assert.Equal(3, report.Stages.Count);
    }

    [Fact] // S37: the loss of its child is the branch's own
    public async Task OptionalLateBranch_WhoseChildDies_IsLostAlone()
    {
        ExpectFailure();
        Expect(13);
        Expect(40);
        List<int> main = [];
        PipelineRun<int> run = StartWithMain(main);
        BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.Optional().ForEach(static _ => Environment.Exit(3), new() { Name = "late", Placement = Placement.ChildProcess })).Within();
        await run.SendAsync(1, TestToken);

        StageFaultedException lost = await Assert.ThrowsAsync<StageFaultedException>(() => lease.Completion.Within());

        Assert.IsType<ChildProcessLostException>(lost.InnerException);
        await run.SendAsync(2, TestToken);
        run.Complete();
        await run.Completion.Within();
        Assert.Equal([1, 2], main);
    }

    [Fact]
    public void LateBranch_WithCodeThatCannotMove_IsRefused()
    {
        int captured = 1;
        PipelineRun<int> run = StartWithMain([]);

        var refused = Assert.Throws<PipelineBuildException>(() => { _ = run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(x => captured += x, new() { Name = "late", Placement = Placement.ChildProcess })); });

        Assert.Contains("captured", Assert.Single(refused.Problems), StringComparison.Ordinal);
        run.Cancel();
        Assert.Equal(1, captured);
    }

    [Theory] // S47, Puma 4, 13, 52, G7
    [MemberData(nameof(Elsewhere))]
    public async Task ReadersInOneProcessAfterAnother_EachItemIsReadOnce(Placement placement)
    {
        List<(int Item, int Process)> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan", NoBranches = NoBranches.Wait }));
        for (int round = 0; round < 3; round++)
        {
            for (int i = 0; i < 5; i++)
                await run.SendAsync((6 * round) + i, TestToken);
            BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b
                .Transform(static x => new Read(x, Environment.ProcessId), new() { Name = "read", Placement = placement })
                .ForEach(x => seen.Add((x.Item, x.Process)))).Within();
            await run.SendAsync((6 * round) + 5, TestToken);
            await Waiting.UntilAsync(() => seen.Count == 6 * (round + 1), "what waited and what came is read");
            await lease.DetachAsync().Within();
        }

        run.Complete();
        await run.Completion.Within();
        Assert.Equal(Enumerable.Range(0, 18), seen.Select(static x => x.Item));
        Assert.Equal(placement is ChildProcessPlacement ? 3 : 1, seen.Select(static x => x.Process).Distinct().Count());
    }

    public sealed record Read(int Item, int Process);

    private PipelineRun<int> StartWithMain(List<int> main) =>
        Start(Pipeline.Accept<int>().Broadcast(new() { Name = "fan" }, b => b.ForEach(main.Add, new() { Name = "main" })));

    private sealed class StartFails : Runnable<int, int>
    {
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken) => throw new FormatException("start");

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);
    }
}
