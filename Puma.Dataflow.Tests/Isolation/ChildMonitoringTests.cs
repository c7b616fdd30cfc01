using System.Diagnostics;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What the meter and the activities show of a stage in child processes: its owner's counts, once.</summary>
public sealed class ChildMonitoringTests : ChildTest
{
    private readonly string _pipeline = $"monitored-{Guid.NewGuid():N}";

    [Fact] // S36
    public async Task ARestartedChild_IsCountedByItsOwner()
    {
        Expect(40);
        using var meter = new MeterObserver(_pipeline);
        using var trace = new ActivityRecorder(_pipeline);
        PipelineRun run = Start(
            Pipeline.From(Enumerable.Range(1, 20)).Then(static o => new Chaos(o), new ChaosOptions(ChaosKind.KillSelf, 7, Once()), Here(LossPolicy.Restart(3))).ForEach(static _ => { }, new() { Name = "sink" }),
            Options with { Name = _pipeline });

        await run.Completion.Within();

        meter.Look();
        Assert.Equal((20, 20, 1), (meter.Of("puma.stage.items.accepted", "chaos", "runnable"), meter.Of("puma.stage.items.delivered", "chaos", "runnable"), meter.Of("puma.stage.restarts", "chaos", "runnable")));
        Assert.Equal((20L, 1L, "Completed"), (trace.Stage("chaos").GetTagItem("puma.items.delivered"), trace.Stage("chaos").GetTagItem("puma.restarts"), trace.Stage("chaos").GetTagItem("puma.outcome")));
        Assert.Equal(4, trace.Stopped.Count);
    }

    [Fact] // S3
    public async Task AnExceptionOfAChild_HasItsOriginalType()
    {
        ExpectFailure();
        using var trace = new ActivityRecorder(_pipeline);
        PipelineRun run = Start(
            Pipeline.From([1, 2]).Then(static o => new Chaos(o), new ChaosOptions(ChaosKind.Throw, 2), Here(LossPolicy.Fault)).ForEach(static _ => { }),
            Options with { Name = _pipeline });

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal((ActivityStatusCode.Error, typeof(FormatException).FullName), (trace.Stage("chaos").Status, trace.Stage("chaos").GetTagItem("error.type")));
        Assert.Equal((ActivityStatusCode.Error, typeof(FormatException).FullName), (trace.Run.Status, trace.Run.GetTagItem("error.type")));
    }

    private static StageOptions Here(LossPolicy onLoss) =>
        new() { Name = "chaos", Placement = Placement.ChildProcess with { OnLoss = onLoss, StateLoss = StateLoss.Accepted } };
}
