using System.Collections.Concurrent;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>
/// The base of tests of how runs end. Beside what every test of runs checks, each item that a stage counts as discarded must have been
/// shown to <see cref="PipelineOptions.OnDiscarded"/>, so that a lost item cannot pass for a discarded one.
/// </summary>
public abstract class LifecycleTest : PipelineTest
{
    private readonly ConcurrentQueue<PipelineRun> _observed = [];

    /// <summary>What was discarded, in the order in which it was.</summary>
    protected ConcurrentQueue<DiscardedItem> Discarded { get; } = [];

    /// <summary>Options with the test's log and the system's clock.</summary>
    protected new PipelineOptions Options => base.Options with { OnDiscarded = Discarded.Enqueue };

    /// <summary>Options with the test's log and the test's clock.</summary>
    protected new PipelineOptions FakeTimeOptions => base.FakeTimeOptions with { OnDiscarded = Discarded.Enqueue };

    protected new PipelineRun Start(PipelineEnd<NoInput> end, PipelineOptions? options = null) => Observe(base.Start(end, options ?? Options));

    protected new PipelineRun<TIn> Start<TIn>(PipelineEnd<TIn> end, PipelineOptions? options = null) => Observe(base.Start(end, options ?? Options));

    /// <summary>Starts a run whose outputs foreign code takes.</summary>
    protected (PipelineRun Run, IReceivableSourceBlock<T> Exit) StartWithExit<TIn, T>(PipelineBuilder<TIn, T> builder, PipelineOptions? options = null, CancellationToken cancellationToken = default)
    {
        var definition = new StageDefinition("exit", StageOptions.Default, static setup => new ExitStage<T>(setup));
        builder.ConnectTo(definition);
        StartedRun started = PipelinePlan.Make(definition, options ?? Options).Start(cancellationToken);
        return (Observe(Watch(new PipelineRun(started))), started.Nodes.OfType<ExitStage<T>>().Single().Block);
    }

    /// <summary>
    /// Waits until every slot of every link is taken, and stays so: looked at from the last stage, which is held, to the first, because a
    /// stage moves only as long as the next one does.
    /// </summary>
    protected static Task UntilFullAsync(PipelineRun run)
    {
        string[] fromTheLast = [.. run.Snapshot().Stages.Select(static s => s.Name).Reverse()];
        return Waiting.UntilAsync(() => fromTheLast.All(name => run.Snapshot().Stage(name) is var s && s.SlotsHeld == s.Capacity), "all links are full");
    }

    /// <summary>Waits until a stage waits for a slot of the next one, which is full and stays so.</summary>
    protected static Task UntilWaitingForOutputAsync(PipelineRun run, string stage) =>
        Waiting.UntilAsync(() => run.Snapshot().Stage(stage).Activity == StageActivity.WaitingForOutput, $"{stage} waits for a slot");

    /// <summary>Waits until the run has a cause; it may have ended by then.</summary>
    protected static Task UntilFaultingAsync(PipelineRun run) => Waiting.UntilAsync(() => run.State is RunState.Faulting or RunState.Faulted, "the run is faulting");

    /// <summary>Checks the numbers of a stage; what is not named must be zero.</summary>
    protected static void AssertCounts(
        PipelineReport report, string stage, long accepted, long delivered = 0, long skipped = 0, long deadLettered = 0, long failed = 0, long discarded = 0, long abandoned = 0)
    {
        StageReport s = report.Stage(stage);
        Assert.Equal(
            (stage, accepted, delivered, skipped, deadLettered, failed, discarded, abandoned),
            (stage, s.Accepted, s.Delivered, s.Skipped, s.DeadLettered, s.Failed, s.Discarded, s.Abandoned));
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        var expected = new Dictionary<string, long>();
        foreach (PipelineRun run in _observed)
        {
            PipelineReport report = await run.Report;
            foreach (StageReport stage in report.Stages)
                expected[stage.Name] = expected.GetValueOrDefault(stage.Name) + stage.Discarded;

            // Items that a full link refused were never accepted, so the stage does not count them.
            foreach (LinkReport link in report.Links.Where(static l => l.Dropped > 0))
                expected[link.To] = Discarded.Count(d => d.Stage == link.To);

            // Items of an abandoned stage may still come back, when its user code returns after all; what is discarded is told on the thread pool.
            foreach (string stage in report.Abandoned)
            {
                await Waiting.UntilAsync(() => Discarded.Count(d => d.Stage == stage) >= report.Stage(stage).Discarded, "every discarded item of an abandoned stage was told");
                expected.Remove(stage);
            }
        }

        foreach ((string stage, long count) in expected)
            Assert.Equal((stage, count), (stage, Discarded.Count(d => d.Stage == stage)));
        GC.SuppressFinalize(this);
    }

    private TRun Observe<TRun>(TRun run)
        where TRun : PipelineRun
    {
        _observed.Enqueue(run);
        return run;
    }
}
