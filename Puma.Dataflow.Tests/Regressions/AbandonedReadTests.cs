using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>A stage that was left behind while its stream took an item had its input read by two threads: one item came twice, as nothing, or was not counted.</summary>
public sealed class AbandonedReadTests : PipelineTest
{
    [Theory] // S27, S30
    [InlineData(LinkKind.Burst)]
    [InlineData(LinkKind.BufferBlock)]
    public async Task ARunThatIsAbandonedAtOnce_LosesAndInventsNothing(LinkKind links)
    {
        ExpectFailure();
        Expect(12);
        int invented = 0;
        for (int round = 0; round < 200; round++)
        {
            PipelineRun run = Pipeline.From(Endless())
                .Transform(static _ => new object())
                .ForEach(
                    item =>
                    {
                        if (item is null)
                            Interlocked.Increment(ref invented);
                    },
                    new() { Name = "sink" })
                .Build(Options with { AbortTimeout = TimeSpan.Zero, Links = links })
                .Start();
            await Waiting.UntilAsync(() => run.Snapshot().Stage("sink").Delivered > 100, "the run is under way");
            run.Cancel();
            (await run.Report.Within()).AssertConserved();
        }

        Assert.Equal(0, invented);
    }

    private static IEnumerable<int> Endless()
    {
        for (int i = 0; ; i++)
            yield return i;
    }
}
