using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>Emits that were not awaited got into the stage's own waits: the run hung, or the process ended.</summary>
public sealed class StrayEmitTests : PipelineTest
{
    [Theory] // S27
    [InlineData(1)]
    [InlineData(3)]
    public async Task Emits_AfterTheHandlerHasReturned_HarmNothing(int parallelism)
    {
        for (int round = 0; round < 200; round++)
        {
            PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 100))
                .Then(static () => new Late(), new() { MaxDegreeOfParallelism = parallelism, BoundedCapacity = 4 })
                .ForEach(static _ => { }, new() { BoundedCapacity = 1 }));

            Assert.Equal(RunState.Completed, (await run.Completion.Within()).State);
        }
    }

    [Fact] // S41
    public async Task Emits_AtTheSameTime_FaultTheStageAndSayWhy()
    {
        ExpectFailure();
        Gate release = new();
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 50))
            .Then(static () => new Concurrent(), new() { Name = "careless" })
            .ForEach(async _ => await release.WaitAsync(), new() { BoundedCapacity = 2 }));
        await Waiting.UntilAsync(() => run.State == RunState.Faulting, "the stage has failed");

        release.Open();
        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("careless", fault.Stage);
        Assert.Contains("Await each EmitAsync", fault.Message, StringComparison.Ordinal);
    }

    private sealed class Late : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            _ = EmitLaterAsync(item);
            return default;
        }

        private async Task EmitLaterAsync(int item)
        {
            await Task.Yield();
            try
            {
                await EmitAsync(item);
            }
            catch (Exception error) when (error is OperationCanceledException or InvalidOperationException)
            {
                // Refused, as it may be.
            }
        }
    }

    private sealed class Concurrent : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            ValueTask first = EmitAsync(item, cancellationToken);
            ValueTask second = EmitAsync(item, cancellationToken);
            await first;
            await second;
        }
    }
}
