using System.Diagnostics.Metrics;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Diagnostics;

/// <summary>The meter. Each test has pipelines of its own name, because the meter is that of the process.</summary>
public sealed class RunMeterTests : PipelineTest
{
    private readonly string _pipeline = $"metered-{Guid.NewGuid():N}";

    private PipelineOptions Metered => Options with { Name = _pipeline };

    [Fact] // S30
    public async Task RunningRun_ShowsWhatItsSnapshotSays()
    {
        using var observer = new MeterObserver(_pipeline);
        var gate = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Transform(static x => x < 0 ? throw new FormatException() : x, new() { Name = "work", ErrorPolicy = ErrorPolicy.Skip }).ForEach(async _ => await gate.WaitAsync(), new() { Name = "sink", BoundedCapacity = 8 }),
            Metered);
        foreach (int item in (int[])[1, 2, 3, -1])
            await run.SendAsync(item, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot() is var s && s.Stage("work") is { Delivered: 3, Skipped: 1 } && s.Stage("sink") is { InFlight: 1, Queued: 2 }, "the sink works at the first");

        observer.Look();

        Assert.Equal(1, observer.Of("puma.runs.active"));
        Assert.Equal(4, observer.Of("puma.stage.items.accepted", "work", "transform"));
        Assert.Equal(3, observer.Of("puma.stage.items.delivered", "work", "transform"));
        Assert.Equal(1, observer.Of("puma.stage.items.skipped", "work", "transform"));
        Assert.Equal(3, observer.Of("puma.stage.items.emitted", "work", "transform"));
        Assert.Equal(2, observer.Of("puma.stage.items.queued", "sink", "for-each"));
        Assert.Equal(1, observer.Of("puma.stage.items.in_flight", "sink", "for-each"));
        Assert.Equal(3, observer.Of("puma.stage.slots.held", "sink", "for-each"));
        Assert.Equal(8, observer.Of("puma.stage.slots.limit", "sink", "for-each"));
        Assert.Equal(3, observer.Of("puma.link.items.sent", "work", "sink"));
        Assert.Equal(1, observer.Of("puma.link.items.received", "work", "sink"));
        Assert.Equal(2, observer.Of("puma.link.items.queued", "work", "sink"));
        gate.Open();
        run.Complete();
        await run.Completion.Within();
    }

    [Fact]
    public async Task EndedRuns_KeepTheirPartOfTheTotals_AndLiveOnesComeOnTop()
    {
        using var observer = new MeterObserver(_pipeline);
        Pipeline<int> pipeline = Pipeline.Accept<int>().ForEach(static _ => { }, new() { Name = "sink" }).Build(Metered);
        for (int round = 0; round < 3; round++)
        {
            PipelineRun<int> run = Watch(pipeline.Start(TestToken));
            await run.SendAsync(round, TestToken);
            await Waiting.UntilAsync(() => run.Snapshot().Stage("sink").Delivered == 1, "the item is handled");
            observer.Look();
            Assert.Equal((round + 1, 1), (observer.Of("puma.stage.items.delivered", "sink", "for-each"), observer.Of("puma.runs.active")));

            run.Complete();
            await run.Completion.Within();
            observer.Look();
            Assert.Equal((round + 1, 0), (observer.Of("puma.stage.items.delivered", "sink", "for-each"), observer.Of("puma.runs.active")));
            Assert.Equal(round + 1, observer.Of("puma.runs.ended", "Completed"));
            Assert.Equal((0, 0), (observer.Of("puma.stage.slots.limit", "sink", "for-each"), observer.Of("puma.link.slots.limit", "entry", "sink")));
        }
    }

    [Fact]
    public async Task RunsOfOneName_AreOneSum()
    {
        using var observer = new MeterObserver(_pipeline);
        Pipeline<int> pipeline = Pipeline.Accept<int>().ForEach(static _ => { }, new() { Name = "sink" }).Build(Metered);
        PipelineRun<int>[] runs = [Watch(pipeline.Start(TestToken)), Watch(pipeline.Start(TestToken))];
        foreach (PipelineRun<int> run in runs)
            await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => runs.All(static r => r.Snapshot().Stage("sink").Delivered == 1), "both items are handled");

        observer.Look();

        Assert.Equal((2, 2), (observer.Of("puma.stage.items.delivered", "sink", "for-each"), observer.Of("puma.runs.active")));
        runs[0].Complete();
        await runs[0].Completion.Within();
        runs[1].Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => runs[1].Completion.Within());
        observer.Look();
        Assert.Equal((1, 1), (observer.Of("puma.runs.ended", "Completed"), observer.Of("puma.runs.ended", "Canceled")));
    }

    [Fact] // looked at all the time, while runs of many stages come, drop items and go
    public async Task Totals_NeverGoBack()
    {
        using var observer = new MeterObserver(_pipeline);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestToken);
        Expect(21);
        Task looking = Task.Run(() =>
        {
            while (!stop.IsCancellationRequested)
                observer.Look();
        }, TestToken);
        for (int round = 0; round < 20; round++)
        {
            PipelineRun<int> run = Start(
                Pipeline.Accept<int>(new() { FullMode = FullMode.DropNewest, BoundedCapacity = 2 }).Transform(static x => x).Through(static () => new System.Threading.Tasks.Dataflow.TransformBlock<int, int>(static x => x)).ForEach(static _ => { }),
                Metered);
            for (int i = 0; i < 200; i++)
                await run.SendAsync(i, TestToken);
            run.Complete();
            await run.Completion.Within();
        }

        await stop.CancelAsync();
        await looking.Within();

        Assert.Empty(observer.Falls);
        observer.Look();
        Assert.Equal(20, observer.Of("puma.runs.ended", "Completed"));
        Assert.Equal(20 * 200, observer.Of("puma.link.items.sent", "entry", "transform"));
    }

    [Fact]
    public async Task AListenerThatThrows_HarmsNoRun()
    {
        using var listener = new MeterListener { InstrumentPublished = MeterObserver.Enable };
        listener.SetMeasurementEventCallback<long>((_, _, tags, _) => ThrowIfMine(tags));
        listener.Start();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static _ => { }), Metered);

        Assert.ThrowsAny<Exception>(listener.RecordObservableInstruments);

        run.Complete();
        await run.Completion.Within();

        void ThrowIfMine(ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            if (tags[0].Value is string name && name == _pipeline)
                throw new FormatException();
        }
    }
}
