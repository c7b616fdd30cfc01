using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>
/// A line source → a → b → c in which every link holds its two items when one stage fails: c has 1 and 2, b has 3 and 4, a has 5 and 6,
/// and the source waits with 7.
/// </summary>
public sealed class FullLineFaultTests : LifecycleTest
{
    private static readonly StageOptions Small = new() { BoundedCapacity = 2 };

    [Theory] // S16, S17, S30
    [InlineData("source", 7)]
    [InlineData("a", 5)]
    [InlineData("b", 3)]
    [InlineData("c", 1)]
    public async Task Fault_WithAllLinksFull_DrainsWhatIsDownstream_DiscardsWhatIsUpstream(string stage, int item)
    {
        (PipelineRun run, List<int> seen) = await FailFullLineAsync(stage, item, FaultMode.DrainDownstream);

        PipelineReport report = await run.Report.Within();
        Assert.Equal(RunState.Faulted, report.State);
        Assert.Equal(Enumerable.Range(1, item - 1), seen);
        AssertNumbers(report, stage, item, drains: true);
    }

    [Theory] // S16, S17, S30
    [InlineData("source", 7)]
    [InlineData("a", 5)]
    [InlineData("b", 3)]
    [InlineData("c", 1)]
    public async Task Fault_WithAllLinksFull_InAbortMode_DiscardsEverything(string stage, int item)
    {
        (PipelineRun run, List<int> seen) = await FailFullLineAsync(stage, item, FaultMode.Abort);

        PipelineReport report = await run.Report.Within();
        Assert.Equal(RunState.Faulted, report.State);
        Assert.Equal(stage == "c" ? [] : [1], seen);
        AssertNumbers(report, stage, item, drains: false);
    }

    private async Task<(PipelineRun Run, List<int> Seen)> FailFullLineAsync(string stage, int item, FaultMode mode)
    {
        ExpectFailure();
        var fail = new Gate();
        var flow = new Gate();
        List<int> seen = [];
        CancellationToken atSink = default;
        PipelineRun run = Start(
            Pipeline.From(SourceAsync(), new() { Name = "source" })
                .Transform(x => StepAsync("a", x), Small with { Name = "a" })
                .Transform(x => StepAsync("b", x), Small with { Name = "b" })
                .ForEach(
                    async (x, ct) =>
                    {
                        atSink = ct;
                        await StepAsync("c", x);
                        await flow.WaitAsync(CancellationToken.None);
                        seen.Add(x);
                    },
                    Small with { Name = "c" }),
            Options with { FaultMode = mode });

        // Links can be full before the sink has begun its first item, which all numbers below count on.
        await Waiting.UntilAsync(() => atSink.CanBeCanceled, "the sink works on its first item");
        await UntilFullAsync(run);
        Assert.False(run.Completion.IsCompleted);
        fail.Open();
        await UntilFaultingAsync(run);
        if (mode == FaultMode.Abort)
            await Waiting.UntilAsync(() => atSink.IsCancellationRequested, "the sink knows");
        flow.Open();
        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
        Assert.Equal(stage, fault.Stage);
        Assert.Equal($"{stage} {item}", fault.InnerException!.Message);
        return (run, seen);

        async IAsyncEnumerable<int> SourceAsync()
        {
            for (int x = 1; ; x++)
                yield return await StepAsync("source", x);
        }

        async ValueTask<int> StepAsync(string at, int x)
        {
            if (at == stage && x == item)
            {
                await fail.WaitAsync();
                throw new FormatException($"{at} {x}");
            }

            return x;
        }
    }

    private static void AssertNumbers(PipelineReport report, string failed, int item, bool drains)
    {
        long[] accepted = [6, 4, 2], gone = [4, 2, failed == "c" ? 0 : 1];
        string[] names = ["a", "b", "c"];
        int place = Array.IndexOf(names, failed);
        for (int i = 0; i < names.Length; i++)
        {
            // What lies behind the failure drains to the last item before it; the rest stays as it was when the line was full.
            bool isDrained = drains && i > place;
            long arrived = isDrained ? item - 1 : accepted[i];
            long delivered = isDrained ? arrived : gone[i];
            long own = i == place ? 1 : 0;
            AssertCounts(report, names[i], arrived, delivered, failed: own, discarded: arrived - delivered - own);
            Assert.Equal(
                (names[i], i == place ? StageState.Faulted : i > place && drains ? StageState.Faulted : i < place ? StageState.Canceled : report.Stage(names[i]).State),
                (names[i], report.Stage(names[i]).State));
        }
    }
}
