using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

public sealed class BatchTests : PipelineTest
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact] // S10, S30
    public async Task Batch_ByCount_EmitsFullArrays_AndThePartialOneAtTheEnd()
    {
        List<int[]> batches = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 10)).Batch(4).ForEach(batches.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]], batches);
        Assert.Equal((10, 10, 3), (report.Stage("batch").Accepted, report.Stage("batch").Delivered, report.Stage("batch").Emitted));
    }

    [Fact]
    public async Task Batch_ExactMultiple_EmitsNoEmptyArray()
    {
        List<int[]> batches = [];
        await Start(Pipeline.From(Enumerable.Range(0, 8)).Batch(4).ForEach(batches.Add)).Completion.Within();
        await Start(Pipeline.From(Array.Empty<int>()).Batch(4).ForEach(batches.Add)).Completion.Within();

        Assert.Equal(2, batches.Count);
    }

    [Fact]
    public async Task Batch_ByWeight_IsNeverHeavierThanTheLimit_ButForASingleHeavyItem()
    {
        List<int[]> batches = [];
        await Start(Pipeline.From([3, 3, 4, 1, 20, 9, 1, 5, 0, 0]).Batch(10, weight: static x => x).ForEach(batches.Add)).Completion.Within();

        Assert.Equal([[3, 3, 4], [1], [20], [9, 1], [5, 0, 0]], batches);
    }

    [Fact] // S34
    public async Task Batch_LightItems_LeaveWhenTheCapacityIsUsedUp()
    {
        List<int[]> batches = [];
        await Start(Pipeline.From(Enumerable.Range(0, 6)).Batch(100, weight: static _ => 0, options: new() { BoundedCapacity = 3 }).ForEach(batches.Add)).Completion.Within();

        Assert.Equal([[0, 1, 2], [3, 4, 5]], batches);
    }

    [Theory] // S14
    [InlineData(-1)]
    [InlineData(0)]
    public async Task Batch_WeightThatThrowsOrIsNegative_FaultsTheStage(int bad)
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From([1, bad]).Batch(10, weight: static x => x == 0 ? throw new FormatException() : x, options: new() { Name = "b" }).ForEach(static _ => { }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("b", 2L), (fault.Stage, fault.ItemNumber));
    }

    [Fact] // S29
    public async Task Batch_MaxAge_CountsFromTheOldestItem()
    {
        var source = new SourceProbe<int>();
        var sink = new SinkProbe<int[]>();
        PipelineRun run = Start(Pipeline.From(source).Batch(10, maxAge: Second * 10).To(sink), FakeTimeOptions);
        await SendAsync(1);
        Time.Advance(Second * 6);
        await SendAsync(2);
        Time.Advance(Second * 3.9);
        await SendAsync(3);
        Assert.False(sink.HasNext);
        Task<int[]> next = sink.NextAsync();
        Time.Advance(Second * 0.1);

        int[] batch = await next.Within();
        Assert.Equal([1, 2, 3], batch);
        await SendAsync(4);
        Time.Advance(Second * 9.9);
        await SendAsync(5);
        next = sink.NextAsync();
        Time.Advance(Second * 0.1);
        batch = await next.Within();
        Assert.Equal([4, 5], batch);
        source.Complete();
        Assert.Equal(RunState.Completed, await sink.AssertNothingMoreAsync());
        await run.Completion.Within();

        async Task SendAsync(int item)
        {
            await source.SendAsync(item).Within();
            await Waiting.UntilAsync(() => run.Stage("batch").Report() is { Queued: 0, Activity: StageActivity.WaitingForInput } r && r.Accepted == item, "the item is in the batch");
        }
    }

    [Fact] // S21, S30, S32
    public async Task Batch_PartialWhenCancelled_IsDiscardedAndCounted()
    {
        ExpectFailure();
        List<object?> discarded = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Batch(10, options: new() { Name = "b" }).ForEach(static _ => { }), Options with { OnDiscarded = d => discarded.Add(d.Item) });
        for (int i = 1; i <= 3; i++)
            await run.SendAsync(i);
        await Waiting.UntilAsync(() => run.Stage("b").Report() is { Queued: 0, InFlight: 3 }, "the items are in the batch");
        Assert.Equal(3, run.Stage("b").Report().SlotsHeld);
        run.Cancel();

        PipelineReport report = await run.Report.Within();

        Assert.Equal((3, 3, 0), (report.Stage("b").Accepted, report.Stage("b").Discarded, report.Stage("b").Emitted));
        Assert.Equal([1, 2, 3], discarded);
    }

    [Fact] // S34
    public async Task Batch_WaitingForRoom_HoldsTheSlotsOfItsItems()
    {
        var sink = new SinkProbe<int[]>();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Batch(2, options: new() { Name = "b", BoundedCapacity = 2 }).To(sink, new() { BoundedCapacity = 1 }));
        for (int i = 0; i < 4; i++)
            await run.SendAsync(i).AsTask().Within();
        await Waiting.UntilAsync(() => run.Stage("b").Report() is { Activity: StageActivity.WaitingForOutput, SlotsHeld: 2 }, "the second batch waits");

        Assert.False(run.TrySend(4));
        int[] first = await sink.NextAsync();
        Assert.Equal([0, 1], first);
        await run.SendAsync(4).AsTask().Within();
        run.Complete();
        Assert.Equal([[0, 1], [2, 3], [4]], await sink.ReadToEndAsync());
        await run.Completion.Within();
    }
}
