using System.Diagnostics;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What the owner sees of a stage whose child is lost (S36, S43).</summary>
public sealed class StatusRestartTests : ChildTest
{
    [Fact] // S36, S37, S43
    public async Task AChildThatIsKilled_ItsReportsStay_AndTheStageIsRestarting()
    {
        Expect(40);
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(static () => new TellsProcess(), new() { Name = "work", Placement = Placement.ChildProcess with { OnLoss = LossPolicy.Restart().Replay(), StateLoss = StateLoss.Accepted } })
            .ForEach(static _ => { }));
        StageStatus status = run.Stage("work").Status;
        await run.Started.Within();
        StatusReport<int> first = status.Latest<int>()!;
        Assert.Equal(Assert.Single(Children()), first.Value);
        Task<StatusReport<StageState>> restarting = status.WaitAsync<StageState>(static s => s == StageState.Restarting, Waiting.Limit, TestToken);
        Task<StatusReport<int>> second = status.WaitAsync<int>(process => process != first.Value, Waiting.Limit, TestToken);

        using (Process child = Process.GetProcessById(first.Value))
            child.Kill();

        await restarting.Within();
        Assert.NotNull(status.Latest<int>());
        await second.Within();
        await run.SendAsync(1, TestToken);
        await status.WaitAsync<StageState>(static s => s == StageState.Running, Waiting.Limit, TestToken);
        run.Complete();
        await run.Completion.Within();

        List<StageState> states = [];
        await foreach (StatusReport<StageState> report in status.ReadAllAsync<StageState>(cancellationToken: TestToken))
            states.Add(report.Value);
        Assert.Equal([StageState.Starting, StageState.Running, StageState.Restarting, StageState.Running, StageState.Draining, StageState.Completed], states);
        Assert.Equal((await second, (int?)0), (status.Latest<int>(), status.Latest<int>()!.Instance));
    }

    [Fact] // S37, S43: beyond its loss policy
    public async Task AChildThatIsLost_ItsReportsStay_AndTheStageIsFaulted()
    {
        ExpectFailure();
        Expect(40);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Then(static () => new TellsProcess(), new() { Name = "work", Placement = Placement.ChildProcess }).ForEach(static _ => { }));
        StageStatus status = run.Stage("work").Status;
        await run.Started.Within();
        Task<StatusReport<string>> never = status.WaitAsync<string>(Timeout.InfiniteTimeSpan, TestToken);
        using (Process child = Process.GetProcessById(status.Latest<int>()!.Value))
            child.Kill();

        StageEndedException ended = await Assert.ThrowsAsync<StageEndedException>(() => never.Within());

        Assert.Equal(StageState.Faulted, ended.State);
        Assert.IsType<ChildProcessLostException>(Assert.IsType<StageFaultedException>(ended.InnerException).InnerException);
        Assert.NotNull(status.Latest<int>());
        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
    }

    private sealed class TellsProcess : Runnable<int, int>
    {
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            ReportStatus(Environment.ProcessId);
            return default;
        }

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(item, cancellationToken);
    }
}
