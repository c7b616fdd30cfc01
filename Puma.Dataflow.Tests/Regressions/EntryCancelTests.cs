using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>An entry that was cancelled before its stage had started did not wait for the sender that was writing an item, which was then received but not sent.</summary>
public sealed class EntryCancelTests : PipelineTest
{
    [Fact] // S21, S30
    public async Task CancelRightAfterTheStart_WhileASenderSends_InManyRuns_Balances()
    {
        ExpectFailure();
        Pipeline<int> pipeline = Pipeline.Accept<int>().ForEach(static x => { }, new() { Name = "sink" }).Build(Options);
        for (int i = 0; i < 1000; i++)
        {
            PipelineRun<int> run = Watch(pipeline.Start(TestToken));
            Task sending = Task.Run(async () =>
            {
                while (true)
                    await run.SendAsync(1, TestToken);
            });
            while (run.Snapshot().Links[0].Sent == 0 && !sending.IsCompleted)
                await Task.Yield();
            run.Cancel();

            await Assert.ThrowsAsync<PipelineClosedException>(() => sending.Within());
            await run.Report.Within();
        }
    }
}
