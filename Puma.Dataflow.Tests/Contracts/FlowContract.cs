using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Contracts;

/// <summary>What a pipeline of any placement does. A placement adds a subclass that names itself.</summary>
public abstract class FlowContract : PipelineTest
{
    /// <summary>Where the stages under test live.</summary>
    protected abstract Placement Placement { get; }

    [Fact] // S1, S30, Puma 76
    public async Task EveryItem_ArrivesOnceInOrder_AndTheRunCompletes()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 1000))
            .Transform(static x => x * 2, new() { Name = "double", Placement = Placement })
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal(Enumerable.Range(0, 1000).Select(static x => x * 2), seen);
        Assert.Equal(1000, report.Stage("double").Delivered);
    }

    [Theory] // S18
    [InlineData(1)]
    [InlineData(8)]
    public async Task OrderedStage_FailsAtOneItem_TheSinkHoldsExactlyThePrefix(int parallelism)
    {
        ExpectFailure();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 10_000))
            .Transform(static x => x == 500 ? throw new FormatException("bad item") : x, new() { Name = "parse", Placement = Placement, MaxDegreeOfParallelism = parallelism })
            .ForEach(seen.Add));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("parse", fault.Stage);
        Assert.Equal(501, fault.ItemNumber);
        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Equal(Enumerable.Range(0, 500), seen);
    }
}

/// <inheritdoc/>
public sealed class InProcessFlowTests : FlowContract
{
    protected override Placement Placement => Placement.InProcess;
}

/// <inheritdoc/>
public sealed class LoopbackFlowTests : FlowContract
{
    protected override Placement Placement => Placement.Loopback;
}

/// <inheritdoc/>
public sealed class ChildProcessFlowTests : FlowContract
{
    protected override Placement Placement => Placement.ChildProcess;
}
