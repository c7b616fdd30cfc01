using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>What a stage held was never freed when it was left behind, although its user code returned in the end.</summary>
public sealed class OwnThreadEndTests : LifecycleTest
{
    [Theory] // S27
    [InlineData(1)]
    [InlineData(2)]
    public async Task ThreadOfAnAbandonedStage_EndsWhenItsHandlerHasReturned(int parallelism)
    {
        ExpectFailure();
        Expect(12);
        var started = new Gate();
        var never = new Gate();
        Thread? thread = null;
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().ForEach(
                async _ =>
                {
                    thread = Thread.CurrentThread;
                    started.Open();
                    await never.WaitAsync();
                },
                new() { Name = "work", OwnThread = true, MaxDegreeOfParallelism = parallelism }),
            FakeTimeOptions);
        await run.SendAsync(1, TestToken);
        await started.WaitAsync();
        run.Cancel();
        await UntilOnlyAsync(run, "work");
        Time.Advance(TimeSpan.FromSeconds(5));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        Assert.True(thread!.IsAlive);

        never.Open();

        await Waiting.UntilAsync(() => !thread.IsAlive, "the thread has ended");
    }
}
