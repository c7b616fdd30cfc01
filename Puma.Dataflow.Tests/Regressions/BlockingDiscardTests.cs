using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>Who left a stage behind told of its discarded items itself: a callback that blocked kept the run from its end.</summary>
public sealed class BlockingDiscardTests : PipelineTest
{
    [Fact] // S27, S32
    public async Task AnOnDiscardedThatBlocks_IsLeftBehind_AndTheRunEnds()
    {
        ExpectFailure();
        Expect(12);
        Gate inItem = new(), inCallback = new(), goOn = new();
        int told = 0;
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().ForEach(
                async (_, ct) =>
                {
                    inItem.Open();
                    await Task.Delay(Timeout.Infinite, ct);
                },
                new() { Name = "sink" }),
            FakeTimeOptions with
            {
                AbortTimeout = TimeSpan.FromSeconds(5),
                OnDiscarded = _ =>
                {
                    inCallback.Open();
                    goOn.Block();
                    Interlocked.Increment(ref told);
                },
            });
        for (int i = 0; i < 4; i++)
            await run.SendAsync(i, TestToken);
        await inItem.WaitAsync(TestToken);
        run.Cancel();
        await inCallback.WaitAsync(TestToken);

        Time.Advance(TimeSpan.FromSeconds(5));
        PipelineReport report = await run.Report.Within();

        Assert.Equal(["sink"], report.Abandoned);
        Assert.Equal(4, report.Stage("sink").Accepted);
        goOn.Open();
        await Waiting.UntilAsync(() => Volatile.Read(ref told) == 4, "every item was told of");
    }
}
