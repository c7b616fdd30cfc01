using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>The base of tests of branches that are attached to a broadcast while the run goes on.</summary>
public abstract class AttachTest : LifecycleTest
{
    /// <summary>What the branch got that the pipeline was written with.</summary>
    protected List<int> Main { get; } = [];

    /// <summary>What the branch got that came later.</summary>
    protected List<int> Late { get; } = [];

    /// <summary>Starts a run with the broadcast 'fan' and its branch 'main'.</summary>
    protected PipelineRun<int> StartWithMain(PipelineOptions? options = null) =>
        Start(Pipeline.Accept<int>(new() { Name = "entry" }).Broadcast(new() { Name = "fan" }, b => b.ForEach(Main.Add, new() { Name = "main" })), options ?? Options);

    /// <summary>Attaches the branch 'late' to the broadcast 'fan'.</summary>
    protected Task<BranchLease> AttachLateAsync(PipelineRun run) =>
        run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(Late.Add, new() { Name = "late" }), TestToken).Within();

    protected static async Task SendAsync(PipelineRun<int> run, int first, int last)
    {
        for (int i = first; i <= last; i++)
            await run.SendAsync(i, TestToken);
    }

    protected static Task UntilMainHasAsync(PipelineRun run, int count) => Waiting.UntilAsync(() => run.Stage("main").Report().Delivered == count, $"main has {count}");
}
