using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>An entry that dropped an item called OnDiscarded under its lock, so a callback that waited for another sender hung.</summary>
public sealed class DiscardCallbackTests : PipelineTest
{
    [Theory] // S32, S47
    [InlineData(FullMode.DropOldest)]
    [InlineData(FullMode.DropNewest)]
    public async Task OnDiscarded_OfAnEntry_MayWaitForAnotherSender(FullMode mode)
    {
        Expect(21);
        PipelineRun<int>? run = null;
        Gate release = new(), isWorking = new();
        int callbacks = 0;
        PipelineOptions options = Options with
        {
            OnDiscarded = _ =>
            {
                if (Interlocked.Increment(ref callbacks) > 1)
                    return;
                var sent = new Gate();
                var sender = new Thread(() =>
                {
                    run!.TrySend(100);
                    sent.Open();
                });
                sender.Start();
                sent.Block();
            },
        };
        run = Start(Pipeline.Accept<int>(new() { FullMode = mode }).ForEach(async _ =>
        {
            isWorking.Open();
            await release.WaitAsync();
        }, new() { BoundedCapacity = 2 }), options);
        run.TrySend(1);
        await isWorking.WaitAsync();
        run.TrySend(2);

        Assert.True(run.TrySend(3));

        release.Open();
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal(2, callbacks);
        Assert.Equal(2, report.Links[0].Dropped);
    }
}
