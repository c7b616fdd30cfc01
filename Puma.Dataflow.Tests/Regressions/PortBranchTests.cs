using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>The full mode of a branch behind an output of a runnable was ignored.</summary>
public sealed class PortBranchTests : PipelineTest
{
    [Fact] // S47
    public async Task Branch_OfAnOutput_DropsWhenItIsFull()
    {
        Expect(21);
        Gate release = new();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 20))
            .Into(static () => new Copier(), static r => r.In, new() { Name = "copy" })
            .Branch(static r => r.Out, b => b.WhenFull(FullMode.DropNewest, capacity: 2).ForEach(async x =>
            {
                await release.WaitAsync();
                seen.Add(x);
            }, new() { Name = "slow" }))
            .End());
        await run.Stage("copy").Completion.Within();

        release.Open();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2], seen);
        Assert.Equal(18, report.Links.Single(static l => l.To == "slow").Dropped);
        Assert.Equal(20, report.Stage("copy").Delivered);
    }

    private sealed class Copier : PortRunnable
    {
        public Copier() => In = new Input<int>((x, token) => Out!.EmitAsync(x, token));

        public Input<int> In { get; }

        public Output<int> Out { get; } = new();
    }
}
