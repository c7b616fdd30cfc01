using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

/// <summary>Stages without user code of their own have options too, so that they can be named and found.</summary>
public sealed class NamedStageTests : PipelineTest
{
    [Fact]
    public async Task TakeAndOfType_WithOptions_AreFoundByName()
    {
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From(new object[] { 1, "a", "b", 2, "c" })
            .OfType<string>(new() { Name = "texts", BoundedCapacity = 2 })
            .Take(2, new() { Name = "first two", BoundedCapacity = 1 })
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(["a", "b"], seen);
        Assert.Equal((2, 1), (report.Stage("texts").Capacity, report.Stage("first two").Capacity));
        Assert.Equal(StageState.Completed, run.Stage("first two").State);
    }

    [Fact] // S13
    public async Task Take_WithAName_CanBeFinishedByIt()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Take(1000, new() { Name = "take" }).ForEach(static _ => { }));
        await run.SendAsync(1, TestToken);

        await run.Stage("take").FinishAsync().Within();

        await run.Completion.Within();
        await Assert.ThrowsAsync<PipelineClosedException>(() => run.SendAsync(2, TestToken).AsTask());
    }

    [Fact]
    public async Task OfType_StaysInThisProcess_WhateverTheDefaultIs()
    {
        // A value of type object could not travel.
        PipelineRun run = Start(
            Pipeline.From(new object[] { 1, "a" }).OfType<string>(new() { Name = "texts" }).ForEach(static _ => { }, new() { Placement = Placement.InProcess }),
            Options with { DefaultPlacement = Placement.Loopback });

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(2, report.Stage("texts").Delivered);
        Assert.Throws<PipelineBuildException>(() => Pipeline.From(new object[] { 1 }).OfType<int>(new() { Placement = Placement.Loopback }).ForEach(static _ => { }).Build());
    }

    [Fact]
    public void Take_WithOptionsThatHaveNoMeaning_IsRefused() =>
        Assert.Contains("'take'", Assert.Throws<PipelineBuildException>(() => Pipeline.From([1]).Take(1, new() { Name = "take", MaxDegreeOfParallelism = 2 }).ForEach(static _ => { }).Build()).Message, StringComparison.Ordinal);
}
