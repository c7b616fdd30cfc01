using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Lifecycle;

/// <summary>The chain of who waits for whom, in snapshots and in the warning of a standstill.</summary>
public sealed class WaitForChainTests : LifecycleTest
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact] // S8, S28
    public async Task Snapshot_OfARunThatWaits_HasTheChainAndPrintsIt()
    {
        var gate = new Gate();
        PipelineRun run = Start(
            Pipeline.From(Enumerable.Range(1, 9), new() { Name = "source" })
                .Transform(static x => x, new() { Name = "work", BoundedCapacity = 2 })
                .ForEach(async _ => await gate.WaitAsync(), new() { Name = "sink", BoundedCapacity = 2 }),
            FakeTimeOptions);
        await UntilFullAsync(run);
        await UntilWaitingForOutputAsync(run, "work");
        await UntilWaitingForOutputAsync(run, "source");
        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink").InFlight == 1, "the sink works");
        Time.Advance(TimeSpan.FromSeconds(2));

        PipelineSnapshot snapshot = run.Snapshot();

        Assert.Equal(
            [
                "'source' waits for a slot of 'work'",
                "'work' waits for a slot of 'sink' (2 of 2 slots held)",
                "'sink' has 1 item in work since 2 s (2 of 2 slots held)",
            ],
            snapshot.WaitForChain);
        Assert.Contains("waiting: 'work' waits for a slot of 'sink' (2 of 2 slots held)", snapshot.ToString(), StringComparison.Ordinal);
        gate.Open();
        PipelineReport report = await run.Completion.Within();
        Assert.Empty(report.WaitForChain);
        Assert.DoesNotContain("waiting:", report.ToString(), StringComparison.Ordinal);
    }

    [Fact] // S8: nobody waits for it, but it does not go on either
    public async Task Snapshot_OfAHandlerThatDoesNotReturn_NamesItAfterTheStallTimeout()
    {
        Expect(30);
        var gate = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(async _ => await gate.WaitAsync(), new() { Name = "sink" }), FakeTimeOptions with { StallTimeout = TimeSpan.FromSeconds(20) });
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot() is var s && s.Stage("sink").InFlight == 1 && s.Stages.All(static s => s.Activity != StageActivity.Starting), "the sink works");

        Time.Advance(TimeSpan.FromSeconds(19));
        Assert.Empty(run.Snapshot().WaitForChain);
        Time.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal(["'sink' has 1 item in work since 20 s (1 of 128 slots held)"], run.Snapshot().WaitForChain);
        gate.Open();
        run.Complete();
        await run.Completion.Within();
    }

    [Fact]
    public async Task Snapshot_OfAnIdleRun_HasNoChain()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static _ => { }, new() { Name = "sink" }));
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink") is { Delivered: 1, SlotsHeld: 0, Activity: StageActivity.WaitingForInput }, "the item is handled");

        Assert.Empty(run.Snapshot().WaitForChain);

        run.Complete();
        await run.Completion.Within();
    }

    [Fact] // a partner that does not come
    public async Task Snapshot_OfAJoinThatWaitsForAPartner_NamesWhoOwesIt()
    {
        var gate = new Gate();
        PipelineRun run = Start(Pipeline.Join(
                Pipeline.From(Enumerable.Range(1, 3), new() { Name = "left" }),
                Pipeline.From([1], new() { Name = "right" }).Transform(async x =>
                {
                    await gate.WaitAsync();
                    return x;
                }, new() { Name = "slow" }),
                new() { Name = "join", BoundedCapacity = 1 })
            .ForEach(static _ => { }, new() { Name = "sink" }));
        await UntilWaitingForOutputAsync(run, "left");
        await Waiting.UntilAsync(() => run.Snapshot() is var s && s.Stage("slow").InFlight == 1 && s.Stage("join") is { Activity: StageActivity.WaitingForInput, Queued: 0 }, "the join waits");

        IReadOnlyList<string> chain = run.Snapshot().WaitForChain;

        Assert.Equal(["'left' waits for a slot of 'join'", "'join' waits for items of 'slow' (1 of 2 slots held)"], chain.Take(2));
        Assert.StartsWith("'slow' has 1 item in work since", Assert.Single(chain.Skip(2)), StringComparison.Ordinal);
        gate.Open();
        ExpectFailure();
        await run.Completion.Within();
    }

    [Fact] // branches that meet again and are out of step
    public void ACircle_IsTold()
    {
        StageReport[] stages =
        [
            Stage("fan", StageActivity.WaitingForOutput, held: 4, waitsFor: "a"),
            Stage("a", StageActivity.WaitingForOutput, held: 4, waitsFor: "join"),
            Stage("b", StageActivity.WaitingForInput),
            Stage("join", StageActivity.WaitingForInput, held: 4),
        ];
        LinkReport[] links =
        [
            new("fan", "a", 4, 9, 5, 0, 0) { SlotsHeld = 4, Queued = 3 },
            new("fan", "b", 4, 9, 9, 0, 0),
            new("a", "join", 4, 5, 1, 0, 0) { SlotsHeld = 4, Queued = 3 },
            new("b", "join", 4, 0, 0, 0, 0),
        ];

        Assert.Equal(
            [
                "'fan' waits for a slot of 'a' (4 of 4 slots held)",
                "'a' waits for a slot of 'join' (4 of 4 slots held)",
                "'join' waits for items of 'b' (4 of 4 slots held)",
                "'b' waits for items of 'fan', which closes a circle",
            ],
            WaitForChain.Of(stages, links, Patience));
    }

    [Fact]
    public void SeveralThatWaitForOne_AreToldEach_ItOnce()
    {
        StageReport[] stages =
        [
            Stage("first", StageActivity.WaitingForOutput, waitsFor: "end"),
            Stage("second", StageActivity.WaitingForOutput, waitsFor: "end"),
            Stage("retry", StageActivity.WaitingForRetry, held: 1),
            Stage("starting", StageActivity.Starting),
            Stage("end", StageActivity.Ending),
        ];

        Assert.Equal(
            ["'first' waits for a slot of 'end'", "'end' is in OnEndAsync", "'second' waits for a slot of 'end'", "'retry' waits for its next attempt (1 of 4 slots held)"],
            WaitForChain.Of(stages, [], Patience));
    }

    private static StageReport Stage(string name, StageActivity activity, long held = 0, string? waitsFor = null) =>
        new() { Name = name, Kind = "test", Activity = activity, SlotsHeld = held, Capacity = 4, WaitsFor = waitsFor };
}
