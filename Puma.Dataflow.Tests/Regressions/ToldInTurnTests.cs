using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Commands;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// A cancelled run tells its stages one after another. A stage that was not told yet took the end of the one before it for the end of all input: it
/// completed, and passed on what came of that.
/// </summary>
public sealed class ToldInTurnTests : ChildTest
{
    public static TheoryData<string> Places => Placed.All;

    [Theory, MemberData(nameof(Places))] // S21: nothing new starts
    public Task ARunnable(string place) => CompletesNotAsync(Pipeline.Accept<int>().Then(static () => new Completing(), Placed.At(place, "work")));

    [Theory, MemberData(nameof(Places))] // S21
    public Task ARunnableWithPorts(string place) => CompletesNotAsync(Pipeline.Accept<int>()
        .Into(static () => new CompletingPorts(), static r => r.Input, Placed.At(place, "work"))
        .Continue(static r => r.Output));

    [Theory] // S21
    [InlineData("in process")]
    [InlineData("loopback")]
    public Task APool(string place) => CompletesNotAsync(Pipeline.Accept<int>().Then(static () => new Completing(), Placed.At(place, "work") with { MaxDegreeOfParallelism = 2 }));

    [Fact] // S21
    public Task ABatch() => CompletesNotAsync(Pipeline.Accept<int>().Batch(2, options: new() { Name = "work" }).Transform(static _ => Completing.Completed));

    [Fact] // S5, S21: a stage that ends while others are still decided of ends behind that
    public async Task WhatIsDecidedOfSeveral_IsDecidedAtOnce()
    {
        ExpectFailure();
        Gate isInWork = new(), goOn = new();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Transform(async x =>
            {
                isInWork.Open();
                await goOn.WaitAsync();
                return x;
            }, new StageOptions { Name = "first" })
            .Then(static () => new Completing(), new() { Name = "second" })
            .ForEach(seen.Add));
        await run.SendAsync(1, TestToken);
        await isInWork.WaitAsync();
        run.Complete();
        IReadOnlyList<StageNode> stages = run.Graph.Nodes;
        await stages.Single(static s => s.IsSource).Completion.Within();
        StageNode[] rest = [.. stages.Where(static s => !s.IsSource)];

        await Task.Run(() =>
        {
            lock (run.Graph.StageEnds)
            {
                foreach (StageNode stage in rest)
                {
                    Assert.True(stage.TryDecideDiscard(DiscardReason.Canceled));
                    goOn.Open();

                    // Long enough for a stage that could end now.
                    SpinWait.SpinUntil(() => stages.Any(s => !s.IsSource && s.Completion.IsCompleted), TimeSpan.FromMilliseconds(50));
                }
            }
        }).Within();
        await Task.WhenAll(rest.Select(static s => s.Completion)).Within();
        foreach (StageNode stage in rest)
            stage.RaiseDecided();
        await run.Report.Within();

        Assert.All(rest, static s => Assert.Equal((StageState.Canceled, EndReason.Canceled), (s.State, s.EndReason)));
        Assert.DoesNotContain(Completing.Completed, seen);
    }

    [Fact] // S17, S21
    public Task AFailure_WhileACancelIsAboutToTell_CompletesNothing()
    {
        TimeSpan abortTimeout = TimeSpan.FromSeconds(77);
        return FailsDuringCancelAsync(during => Options with
        {
            FaultMode = FaultMode.Abort,
            AbortTimeout = abortTimeout,
            TimeProvider = new WatchedTimers(due =>
            {
                if (due == abortTimeout)
                    during();
            }),
        });
    }

    [Theory] // S17, S21
    [InlineData(FaultMode.DrainDownstream)]
    [InlineData(FaultMode.Abort)]
    public Task AFailure_WhileACancelIsBeingLogged_CompletesNothing(FaultMode mode) => FailsDuringCancelAsync(during => Options with
    {
        FaultMode = mode,
        LoggerFactory = new HookedLog(Log, (_, id) =>
        {
            if (id == 3)
                during();
        }),
    });

    private async Task FailsDuringCancelAsync(Func<Action, PipelineOptions> makeOptions)
    {
        ExpectFailure();
        Gate isInWork = new(), goOn = new();
        List<int> seen = [];
        PipelineRun<int>? run = null;
        run = Start(
            Pipeline.Accept<int>()
                .Transform<int>(async x =>
                {
                    isInWork.Open();
                    await goOn.WaitAsync();
                    throw new FormatException();
                }, new StageOptions { Name = "first" })
                .Then(static () => new Completing(), new() { Name = "second" })
                .ForEach(seen.Add),
            makeOptions(LetItFail));
        await run.SendAsync(1, TestToken);
        await isInWork.WaitAsync();

        await Task.Run(run.Cancel).Within();
        PipelineReport report = await run.Report.Within();

        Assert.Equal(RunState.Canceled, report.State);
        Assert.DoesNotContain(Completing.Completed, seen);

        void LetItFail()
        {
            goOn.Open();

            // Long enough for those behind it to end for that.
            SpinWait.SpinUntil(() => run!.Graph.Nodes.All(static s => s.IsSource || s.Completion.IsCompleted), TimeSpan.FromMilliseconds(50));
        }
    }

    private async Task CompletesNotAsync(PipelineBuilder<int, int> builder)
    {
        ExpectFailure();
        List<int> seen = [];
        PipelineRun<int> run = Start(builder.ForEach(seen.Add));
        await run.Started.Within();
        await run.SendAsync(1, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work") is { Accepted: 1, Activity: StageActivity.WaitingForInput }, "the item is through");
        IReadOnlyList<StageNode> stages = run.Graph.Nodes;
        foreach (StageNode stage in stages)
            Assert.True(stage.TryDecideDiscard(DiscardReason.Canceled));

        stages.Single(static s => s.IsSource).RaiseDecided();
        await Task.WhenAll(stages.Select(static s => s.Completion)).Within();
        foreach (StageNode stage in stages)
            stage.RaiseDecided();

        PipelineReport report = await run.Report.Within();

        Assert.DoesNotContain(Completing.Completed, seen);
        Assert.All(report.Stages, static s => Assert.Equal((StageState.Canceled, EndReason.Canceled), (s.State, s.EndReason)));
    }

    public sealed class Completing : Runnable<int, int>
    {
        public const int Completed = -1;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => EmitAsync(Completed, cancellationToken);
    }

    public sealed class CompletingPorts : PortRunnable
    {
        public CompletingPorts() => Input = new Input<int>(
            (item, cancellationToken) => Output!.EmitAsync(item, cancellationToken),
            cancellationToken => Output!.EmitAsync(Completing.Completed, cancellationToken));

        public Input<int> Input { get; }

        public Output<int> Output { get; } = new();

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => Output.EmitAsync(Completing.Completed, cancellationToken);
    }
}
