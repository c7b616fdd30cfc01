using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>An emit that its own caller gave up made the whole item count as discarded, also when it came from a tick before the item.</summary>
public sealed class EmitTokenTests : LifecycleTest
{
    [Fact] // S30
    public async Task EmitGivenUpByItsCaller_LeavesTheItemDelivered()
    {
        using var own = new CancellationTokenSource();
        var gaveUp = new Gate();
        var sink = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(() => new GivesUp(gaveUp, own.Token), new() { Name = "work" })
            .ForEach(async _ => await sink.WaitAsync(), new() { Name = "sink", BoundedCapacity = 1 }));
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work").Activity == StageActivity.WaitingForOutput, "the second output waits");
        await own.CancelAsync();
        await gaveUp.WaitAsync();
        sink.Open();
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        AssertCounts(report, "work", accepted: 1, delivered: 1);
        AssertCounts(report, "sink", accepted: 1, delivered: 1);
    }

    private sealed class GivesUp(Gate gaveUp, CancellationToken own) : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await EmitAsync(item, cancellationToken);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await EmitAsync(item, own));
            gaveUp.Open();
        }
    }
}
