using Microsoft.Extensions.Logging;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Stages;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>The library's own log records come between its steps: a logger that threw broke the ending, and one that is slow shows the gaps.</summary>
public sealed class LoggerTests : LifecycleTest
{
    [Fact] // S1, S8, S16
    public async Task LoggerThatThrows_DoesNotGetIntoTheEnding()
    {
        PipelineRun run = Start(
            Pipeline.From(Enumerable.Range(1, 10)).ForEach(static x =>
            {
                if (x == 3)
                    throw new FormatException();
            }),
            Options with { LoggerFactory = new HookedLog(Log, static (_, _) => throw new TimeZoneNotFoundException()) });

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.IsType<FormatException>(fault.InnerException);
        Assert.IsType<TimeZoneNotFoundException>(Assert.Single((await run.Report).SecondaryErrors));
    }

    [Fact] // S6, S9
    public async Task Complete_WhileAnotherThreadIsAboutToStopTheSources_StopsThem()
    {
        Gate logging = new(), release = new();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static _ => { }), Options with
        {
            LoggerFactory = new HookedLog(Log, (_, id) =>
        {
            if (id != 2)
                return;
            logging.Open();
            release.Block();
        })
        });
        await run.Started.Within();
        Task completing = Task.Run(run.Complete, TestToken);
        await logging.WaitAsync();

        run.Complete();

        Assert.Equal(RunState.Completed, (await run.Completion.Within()).State);
        release.Open();
        await completing.Within();
    }

    [Fact] // S14
    public async Task FaultBeforeAnyStageHasStarted_FailsTheStart()
    {
        ExpectFailure();
        CompletionGraph? graph = null;
        var builder = Pipeline.From([1]);
        var exit = new StageDefinition("exit", StageOptions.Default, setup =>
        {
            graph = setup.Graph;
            return new ExitStage<int>(setup);
        });
        builder.ConnectTo(exit);
        PipelineRun run = Watch(new PipelineRun(PipelinePlan.Make(exit, Options with
        {
            LoggerFactory = new HookedLog(Log, (_, id) =>
        {
            if (id == 1)
                graph!.Fault(new FormatException());
        })
        }).Start(TestToken)));

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Started.Within());
        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.DoesNotContain(Log.Records, static r => r.EventId.Id == 10);
    }

    [Fact] // S17
    public async Task ShortestTimeout_IsWatchedWithATimerThatRepeats()
    {
        var time = new LateTimers(Time);
        PipelineRun run = Start(Pipeline.From([1]).ForEach(static _ => { }), FakeTimeOptions with { TimeProvider = time, DrainTimeout = TimeSpan.FromMilliseconds(2) });

        await run.Completion.Within();

        Assert.All(time.Periods, static p => Assert.True(p >= TimeSpan.FromMilliseconds(1)));
    }
}
