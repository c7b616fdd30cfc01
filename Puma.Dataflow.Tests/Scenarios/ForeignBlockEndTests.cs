using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>How the end of a foreign block becomes one of the stage that holds it.</summary>
public sealed class ForeignBlockEndTests : PipelineTest
{
    [Fact] // S46
    public async Task BlockThatFaults_IsAFaultWithTheBareException()
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 100))
            .Through(static () => new TransformBlock<int, int>(static x => x == 3 ? throw new FormatException("bad item") : x), new() { Name = "foreign" })
            .ForEach(static x => { }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("foreign", fault.Stage);
        Assert.IsType<FormatException>(fault.InnerException);
    }

    [Fact] // S46, S13
    public async Task TargetThatOthersHaveCompleted_IsALackOfDemand()
    {
        var target = new ActionBlock<int>(static x => { });
        target.Complete();
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 100)).To(target, new() { Name = "to" }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal(EndReason.NoDemand, report.Stage("to").EndReason);
    }

    [Fact] // S46, S15
    public async Task BlockThatIsCancelled_WhileTheRunIsNot_IsAFault()
    {
        ExpectFailure();
        using var canceled = new CancellationTokenSource();
        await canceled.CancelAsync();
        var target = new ActionBlock<int>(static x => { }, new() { CancellationToken = canceled.Token });
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 100)).To(target, new() { Name = "to" }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("to", fault.Stage);
        Assert.True(fault.IsCausedBy<OperationCanceledException>());
    }
}
