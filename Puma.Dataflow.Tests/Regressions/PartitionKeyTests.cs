using System.Collections.Concurrent;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// The hash code of a key was used as the number of an instance, a key that could not be told lost its item, and items that waited for
/// the instance of their key kept a stage that failed or finished from ending.
/// </summary>
public sealed class PartitionKeyTests : PipelineTest
{
    [Fact] // S30
    public async Task KeysOfAnyHashCode_GoToOneInstanceEach_InTheirOrder()
    {
        ConcurrentQueue<(int Key, int Value, int Instance)> seen = [];
        int[] keys = [0, -1, 1, 7, int.MinValue, int.MaxValue, 123_456_789];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 700).Select(i => (Key: keys[i % keys.Length], Value: i)))
            .PartitionBy(static x => x.Key)
            .To(() => new Recorder(seen), new() { Name = "sink", MaxDegreeOfParallelism = 3 }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(700, report.Stage("sink").Delivered);
        foreach (IGrouping<int, (int Key, int Value, int Instance)> key in seen.GroupBy(static x => x.Key))
        {
            Assert.Single(key.Select(static x => x.Instance).Distinct());
            Assert.Equal(key.Select(static x => x.Value).Order(), key.Select(static x => x.Value));
        }
    }

    [Fact] // S14, S18, S30
    public async Task KeyThatThrows_IsAFailureOfItsItem_AndNothingIsLost()
    {
        ExpectFailure();
        ConcurrentQueue<(int Key, int Value, int Instance)> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 100).Select(static i => (Key: i, Value: i)))
            .PartitionBy(static x => x.Value == 50 ? throw new FormatException("no key") : x.Key)
            .To(() => new Recorder(seen), new() { Name = "sink", MaxDegreeOfParallelism = 3 }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("sink", fault.Stage);
        Assert.Equal(51, fault.ItemNumber);
        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Equal(1, (await run.Report).Stage("sink").Failed);
    }

    [Fact] // S35
    public async Task KeyThatThrows_FollowsTheErrorPolicy()
    {
        ConcurrentQueue<(int Key, int Value, int Instance)> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 100).Select(static i => (Key: i, Value: i)))
            .PartitionBy(static x => x.Value % 10 == 0 ? throw new FormatException("no key") : x.Key)
            .To(() => new Recorder(seen), new() { Name = "sink", MaxDegreeOfParallelism = 3, ErrorPolicy = ErrorPolicy.Skip }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(10, report.Stage("sink").Skipped);
        Assert.Equal(90, report.Stage("sink").Delivered);
        Assert.Equal(90, seen.Count);
    }

    [Fact] // S18
    public async Task ItemsBeforeAFailure_WaitForTheirInstance_AreHandledBeforeTheStageEnds()
    {
        ExpectFailure();
        Gate gate = new(), failed = new();
        ConcurrentQueue<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 20))
            .PartitionBy(static x => x == 5 ? 1 : 0)
            .Then(() => new Doer(async x =>
            {
                if (x == 0)
                    await gate.WaitAsync();
                if (x == 5)
                {
                    failed.Open();
                    throw new FormatException("bad item");
                }
            }), new() { Name = "work", MaxDegreeOfParallelism = 2 })
            .ForEach(seen.Enqueue));
        await failed.WaitAsync(TestToken);
        gate.Open();

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(6, fault.ItemNumber);
        Assert.Equal([0, 1, 2, 3, 4], seen);
    }

    [Fact] // S13
    public async Task StageThatFinishes_DiscardsWhatWaitsForItsInstance()
    {
        Gate gate = new(), started = new();
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 20))
            .PartitionBy(static x => x % 2)
            .Then(() => new Doer(async x =>
            {
                started.Open();
                await gate.WaitAsync();
            }), new() { Name = "work", MaxDegreeOfParallelism = 2 })
            .ForEach(static x => { }));
        await started.WaitAsync(TestToken);
        Task finished = run.Stage("work").FinishAsync();
        gate.Open();

        await finished.Within();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(EndReason.Finished, report.Stage("work").EndReason);
        Assert.InRange(report.Stage("work").Delivered, 1, 2);
    }

    private sealed class Doer(Func<int, Task> work) : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await work(item);
            await EmitAsync(item, cancellationToken);
        }
    }

    private sealed class Recorder(ConcurrentQueue<(int Key, int Value, int Instance)> seen) : SinkRunnable<(int Key, int Value)>
    {
        protected override ValueTask OnItemAsync((int Key, int Value) item, CancellationToken cancellationToken)
        {
            seen.Enqueue((item.Key, item.Value, Context.Instance));
            return default;
        }
    }
}
