using System.Collections.Concurrent;
using System.Diagnostics;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Diagnostics;

/// <summary>The activities of runs. Each test listens to pipelines of its own name only.</summary>
public sealed class RunTraceTests : PipelineTest
{
    private readonly string _pipeline = $"traced-{Guid.NewGuid():N}";

    private PipelineOptions Traced => Options with { Name = _pipeline };

    [Fact]
    public async Task Run_IsAnActivityBelowTheCallersOne_AndItsStagesAreBelowIt()
    {
        using var trace = new ActivityRecorder(_pipeline);
        using Activity around = new Activity("around").Start();
        PipelineRun run = Start(Pipeline.From([1, 2, 3]).Transform(static x => x, new() { Name = "work" }).ForEach(static _ => { }, new() { Name = "sink" }), Traced);
        Assert.Same(around, Activity.Current);

        await run.Completion.Within();

        Assert.Same(around, Activity.Current);
        Assert.Equal((around.SpanId, $"run {_pipeline}", "Completed", ActivityStatusCode.Unset), (trace.Run.ParentSpanId, trace.Run.DisplayName, trace.Run.GetTagItem("puma.outcome"), trace.Run.Status));
        Assert.Equal(3, trace.Stopped.Count(a => a.OperationName == "puma.stage" && a.ParentSpanId == trace.Run.SpanId && a.TraceId == around.TraceId));
        Activity work = trace.Stage("work");
        Assert.Equal(("stage work", "transform", "Completed", "InputEnded"), (work.DisplayName, work.GetTagItem("puma.kind"), work.GetTagItem("puma.outcome"), work.GetTagItem("puma.end_reason")));
        Assert.Equal((3L, 3L, 3L, 0L), (work.GetTagItem("puma.items.accepted"), work.GetTagItem("puma.items.delivered"), work.GetTagItem("puma.items.emitted"), work.GetTagItem("puma.items.discarded")));
        Assert.Same(trace.Run, trace.Stopped.Last());
    }

    [Fact] // S3, S4
    public async Task AFault_IsTheStatusOfTheRunAndOfItsPlace_NotOfItsEchoes()
    {
        ExpectFailure();
        using var trace = new ActivityRecorder(_pipeline);
        PipelineRun run = Start(
            Pipeline.From([1, 2], new() { Name = "source" }).Transform(static x => x == 2 ? throw new FormatException("two") : x, new() { Name = "work" }).ForEach(static _ => { }, new() { Name = "sink" }),
            Traced);

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        foreach (Activity place in (Activity[])[trace.Run, trace.Stage("work")])
        {
            Assert.Equal((ActivityStatusCode.Error, fault.Message, typeof(FormatException).FullName), (place.Status, place.StatusDescription, place.GetTagItem("error.type")));
            Assert.Contains(place.Events, static e => e.Name == "exception");
            Assert.Equal("Faulted", place.GetTagItem("puma.outcome"));
        }

        Assert.Equal(("Faulted", ActivityStatusCode.Unset), (trace.Stage("sink").GetTagItem("puma.outcome"), trace.Stage("sink").Status));
        Assert.Equal(ActivityStatusCode.Unset, trace.Stage("source").Status);
    }

    [Fact] // S22
    public async Task ACancellation_IsAnOutcome_NoError()
    {
        ExpectFailure();
        using var trace = new ActivityRecorder(_pipeline);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static _ => { }, new() { Name = "sink" }), Traced);

        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        Assert.Equal(("Canceled", ActivityStatusCode.Unset), (trace.Run.GetTagItem("puma.outcome"), trace.Run.Status));
        Assert.Equal(("Canceled", ActivityStatusCode.Unset), (trace.Stage("sink").GetTagItem("puma.outcome"), trace.Stage("sink").Status));
    }

    [Fact] // S27
    public async Task AnAbandonedStage_EndsItsActivity()
    {
        ExpectFailure();
        Expect(12);
        using var trace = new ActivityRecorder(_pipeline);
        var gate = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(async _ => await gate.WaitAsync(), new() { Name = "sink" }), Traced with { TimeProvider = Time });
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink").InFlight == 1, "the sink works");
        run.Cancel();
        await UntilOnlyAsync(run, "sink");
        Time.Advance(TimeSpan.FromSeconds(5));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());

        Assert.Equal(("Abandoned", 1L), (trace.Stage("sink").GetTagItem("puma.end_reason"), trace.Stage("sink").GetTagItem("puma.items.abandoned")));
        gate.Open();
    }

    [Fact] // the first branch has ended for everybody but the trace when the second one comes
    public async Task ABranchThatIsAttachedAgain_HasAnActivityEachTime()
    {
        const int StageEnded = 11;
        using var trace = new ActivityRecorder(_pipeline);
        var gate = new Gate();
        int ended = 0;
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Broadcast(new() { Name = "fan" }, static b => b.ForEach(static _ => { }, new() { Name = "main" })),
            Traced with
            {
                LoggerFactory = new HookedLog(Log, (_, id) =>
                {
                    if (id == StageEnded && Interlocked.Increment(ref ended) == 1)
                        gate.Block();
                }),
            });

        BranchLease first = await AttachAsync();
        await first.DetachAsync().Within();
        await AttachAsync();
        gate.Open();
        run.Complete();
        await run.Completion.Within();

        Assert.Equal(2, trace.Stopped.Count(static a => (string?)a.GetTagItem("puma.stage") == "late"));

        Task<BranchLease> AttachAsync() => run.Broadcast<int>("fan").AttachAsync(static b => b.ForEach(static _ => { }, new() { Name = "late" }), TestToken).Within();
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(3, false)]
    [InlineData(1, true)]
    public async Task UserCode_SeesTheActivityOfItsStage(int instances, bool ownThread)
    {
        ConcurrentQueue<string?> seen = [];
        using var trace = new ActivityRecorder(_pipeline);
        PipelineRun run = Start(
            Pipeline.From(Enumerable.Range(0, 20)).ForEach(async _ =>
            {
                await Task.Yield();
                seen.Enqueue((string?)Activity.Current?.GetTagItem("puma.stage"));
            }, new() { Name = "sink", MaxDegreeOfParallelism = instances, OwnThread = ownThread }),
            Traced);

        await run.Completion.Within();

        Assert.Equal(Enumerable.Repeat("sink", 20), seen);
    }

    [Fact]
    public async Task LoopbackStage_HasItsActivity_WithTheTypeOfTheRemoteError()
    {
        ExpectFailure();
        using var trace = new ActivityRecorder(_pipeline);
        PipelineRun run = Start(Pipeline.From([1]).ForEach(static _ => throw new FormatException("remote"), new() { Name = "sink", Placement = Placement.Loopback }), Traced);

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal((ActivityStatusCode.Error, typeof(FormatException).FullName), (trace.Stage("sink").Status, trace.Stage("sink").GetTagItem("error.type")));
    }

    [Fact] // nobody listens, so the user's own activity stays the current one
    public async Task WithoutAListener_ThereIsNoActivity()
    {
        ConcurrentQueue<Activity?> seen = [];
        using Activity around = new Activity("around").Start();

        await Start(Pipeline.From([1]).ForEach(_ => seen.Enqueue(Activity.Current)), Traced).Completion.Within();

        Assert.Same(around, Assert.Single(seen));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AListenerThatThrows_HarmsNoRun(bool atStart)
    {
        using var trace = new ActivityRecorder(_pipeline, onStart: a => ThrowIf(atStart, a), onStop: a => ThrowIf(!atStart, a));
        PipelineRun run = Start(Pipeline.From([1]).ForEach(static _ => { }, new() { Name = "sink" }), Traced);

        PipelineReport report = await run.Completion.Within();

        Assert.Equal((RunState.Completed, 1L), (report.State, report.Stage("sink").Delivered));

        static void ThrowIf(bool must, Activity activity)
        {
            if (must)
                throw new InvalidOperationException(activity.OperationName);
        }
    }
}
