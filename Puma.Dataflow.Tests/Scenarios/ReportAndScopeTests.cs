using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>What a run tells about itself, and how far a failure and an item reach.</summary>
public sealed class ReportAndScopeTests : PipelineTest
{
    [Fact] // S8
    public async Task Snapshot_OfAWaitingRun_TellsWhatEachStageWaitsFor()
    {
        Gate gate = new(), taken = new();
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 10), new() { Name = "numbers" })
            .Tap(static x => { }, new() { Name = "pass", BoundedCapacity = 1 })
            .ForEach(async x =>
            {
                taken.Open();
                await gate.WaitAsync();
            }, new() { Name = "sink", BoundedCapacity = 1 }));
        await taken.WaitAsync(TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("numbers").Activity == StageActivity.WaitingForOutput && run.Snapshot().Stage("pass").Activity == StageActivity.WaitingForOutput, "both stages wait for a slot");

        PipelineSnapshot now = run.Snapshot();
        gate.Open();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Running, now.State);
        Assert.Equal("pass", now.Stage("numbers").WaitsFor);
        Assert.Equal("sink", now.Stage("pass").WaitsFor);
        Assert.Equal(1, now.Stage("sink").InFlight);
        Assert.Equal(1, now.Stage("pass").SlotsHeld);
        Assert.Equal(10, report.Stage("sink").Delivered);
        Assert.Equal(RunState.Completed, report.State);
        Assert.Null(report.Cause);
    }

    [Fact] // S8
    public async Task Times_TellWhatAStageHasSpentItsTimeWith()
    {
        Gate gate = new(), taken = new();
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Tap(static x => { }, new() { Name = "pass", BoundedCapacity = 1 })
            .ForEach(async x =>
            {
                taken.Open();
                await gate.WaitAsync();
            }, new() { Name = "slow", BoundedCapacity = 1 }), FakeTimeOptions);
        await Waiting.UntilAsync(() => run.Snapshot().Stages.All(static s => s.Activity is StageActivity.WaitingForInput or StageActivity.WaitingForForeignCode), "all stages wait for items");
        Time.Advance(TimeSpan.FromSeconds(2));
        await run.SendAsync(1, TestToken).Within();
        await taken.WaitAsync(TestToken);
        await run.SendAsync(2, TestToken).Within();
        await Waiting.UntilAsync(() => run.Snapshot().Stage("pass").Activity == StageActivity.WaitingForOutput, "the stage before waits for a slot");
        Time.Advance(TimeSpan.FromSeconds(3));
        PipelineSnapshot now = run.Snapshot();
        gate.Open();
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal((2, 3), (now.Stage("slow").Times.WaitingForInput.TotalSeconds, now.Stage("slow").Times.Working.TotalSeconds));
        StageTimes pass = report.Stage("pass").Times;
        Assert.Equal((2, 0, 3), (pass.WaitingForInput.TotalSeconds, pass.Working.TotalSeconds, pass.WaitingForOutput.TotalSeconds));
        Assert.Equal(TimeSpan.FromSeconds(5), pass.Total);
        Assert.Contains("  3.000", report.ToString(), StringComparison.Ordinal);
    }

    [Fact] // S8
    public async Task Snapshot_OfARunThatDrainsAfterAFault_HasItsCause()
    {
        ExpectFailure();
        Gate gate = new();
        PipelineRun run = Start(Pipeline.From([1, 2])
            .Transform(static x => x == 2 ? throw new FormatException("bad") : x, new() { Name = "parse" })
            .ForEach(async x => await gate.WaitAsync()));
        await Waiting.UntilAsync(() => run.Snapshot().Cause is not null, "the cause is known");

        PipelineSnapshot now = run.Snapshot();
        gate.Open();
        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Same(fault, now.Cause);
        Assert.Contains("cause: ", now.ToString(), StringComparison.Ordinal);
        Assert.Empty(now.Abandoned);
    }

    [Fact] // S8, S24
    public async Task Report_AfterAFaultAndACancel_IsThereToo()
    {
        ExpectFailure();
        PipelineRun faulted = Start(Pipeline.From([1]).ForEach(static x => throw new FormatException("bad item"), new() { Name = "sink" }));
        PipelineRun<int> canceled = Start(Pipeline.Accept<int>().ForEach(static x => { }));
        canceled.Cancel();

        PipelineReport afterFault = await faulted.Report.Within();
        PipelineReport afterCancel = await canceled.Report.Within();

        Assert.Equal(RunState.Faulted, afterFault.State);
        Assert.Equal("sink", afterFault.Cause!.Stage);
        Assert.Equal(1, afterFault.Stage("sink").Failed);
        Assert.Equal(RunState.Canceled, afterCancel.State);
        Assert.Null(afterCancel.Cause);
        Assert.Empty(afterCancel.SecondaryErrors);
    }

    [Fact] // S48
    public async Task Branches_AreGivenTheSameItem()
    {
        object item = new();
        List<object> first = [], second = [];
        await Start(Pipeline.From([item]).Broadcast(b => b.ForEach(first.Add), b => b.ForEach(second.Add))).Completion.Within();

        Assert.Same(item, Assert.Single(first));
        Assert.Same(item, Assert.Single(second));
    }

    [Fact] // S49
    public async Task FaultOfASecondRun_JoinedAtItsEntry_DoesNotReachTheFirst()
    {
        ExpectFailure();
        PipelineRun<int> second = Start(Pipeline.Accept<int>().ForEach(static x => throw new FormatException("bad item")));
        PipelineRun first = Start(Pipeline.From(Enumerable.Range(0, 100))
            .ForEach((x, ct) => second.SendAsync(x, ct), new() { Name = "send", ErrorPolicy = ErrorPolicy.Skip }));

        PipelineReport report = await first.Completion.Within();
        await Assert.ThrowsAsync<StageFaultedException>(() => second.Completion.Within());

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal(100, report.Stage("send").Delivered + report.Stage("send").Skipped);
    }

    [Fact] // S49
    public async Task FaultInAStage_IsNotAbsorbedByAnythingBehindIt()
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From([1, 2])
            .Transform(static x => x == 2 ? throw new FormatException("bad item") : x, new() { Name = "parse" })
            .Tap(static x => { }, new() { ErrorPolicy = ErrorPolicy.Skip })
            .ForEach(static x => { }, new() { ErrorPolicy = ErrorPolicy.Skip }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("parse", fault.Stage);
    }
}
