using System.Diagnostics;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Workers in child processes that die.</summary>
public sealed class LostWorkerTests : JobTest
{
    private static readonly LossPolicy AtOnce = LossPolicy.Restart(backoff: Backoff.None).DeadLetter();

    [Fact] // S36, S37
    public async Task Kill_FailsTheJobInWork_AndNoOther_AndAnotherWorkerTakesThePlace()
    {
        Expect(40);
        Workers workers = Make(Home.ChildProcess, new() { Count = 2, OnLoss = AtOnce });
        (Meeting lost, Meeting other) = (Meet(1), Meet(2));
        Task<int> losing = workers.SubmitAsync(Meeting.HoldAsync, lost);
        await lost.UntilBegunAsync();
        Task<int> bystander = workers.SubmitAsync(Meeting.HoldAsync, other);
        await other.UntilBegunAsync();
        Task<int>[] queued = [.. Enumerable.Range(1, 20).Select(i => workers.SubmitAsync(static (x, _) => x, i))];

        Kill(lost.Process);

        JobFailedException failure = await Assert.ThrowsAsync<JobFailedException>(() => losing.Within());
        var loss = Assert.IsType<ChildProcessLostException>(failure.InnerException);
        Assert.Equal((ChildExitReason.Killed, "SIGKILL", lost.Process), (loss.Exit.Reason, loss.Exit.Signal, loss.Exit.ProcessId));
        Assert.Equal((true, lost.Process), (failure.IsOutcomeUnknown, failure.ProcessId));
        Assert.Contains("unknown", failure.Message, StringComparison.Ordinal);
        Assert.Contains("SIGKILL", failure.Message, StringComparison.Ordinal);
        Assert.False(bystander.IsCompleted);

        // While the other is held, only the new worker can do them.
        Assert.Equal(Enumerable.Range(1, 20), await Task.WhenAll(queued).Within());
        other.LetGo();
        Assert.Equal(2, await bystander.Within());
        await workers.CompleteAsync().Within();
        WorkersSnapshot end = workers.Snapshot();
        Assert.Equal((RunState.Completed, 21, 1, 1), (end.State, end.Succeeded, end.Failed, end.Restarts));
    }

    [Fact] // S36: with consent the job is done again
    public async Task Kill_WithReplay_DoesTheJobAgain()
    {
        Expect(40);
        Workers workers = Make(Home.ChildProcess, new() { Count = 1, Placement = Placement.ChildProcess with { OnLoss = LossPolicy.Restart(backoff: Backoff.None).Replay() } });
        Meeting lost = Meet(1);
        Task<int> task = workers.SubmitAsync(Meeting.HoldAsync, lost);
        await lost.UntilBegunAsync();
        int first = lost.Process;

        Kill(first);
        await Waiting.UntilAsync(() => int.TryParse(TextOf(lost), out int second) && second != first, "another worker has begun the job");
        lost.LetGo();

        Assert.Equal(1, await task.Within());
        Assert.Equal((1, 0, 1), (workers.Snapshot().Succeeded, workers.Snapshot().Failed, workers.Snapshot().Restarts));
    }

    [Fact] // S36: who has cancelled it does not want it done again
    public async Task Kill_WithReplay_OfAJobThatWasCancelled_DoesNotDoItAgain()
    {
        Expect(40);
        using var source = new CancellationTokenSource();
        Workers workers = Make(Home.ChildProcess, new() { Count = 1, OnLoss = LossPolicy.Restart(backoff: Backoff.None).Replay() });
        Meeting lost = Meet(1);
        Task<int> task = workers.SubmitAsync(static async (meeting, _) => await Meeting.HoldAsync(meeting, CancellationToken.None), lost, source.Token);
        await lost.UntilBegunAsync();
        await source.CancelAsync();
        Assert.False(task.IsCompleted);

        Kill(lost.Process);

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => task.Within());
        Assert.True(task.IsCanceled);
        Assert.Equal(1, await workers.SubmitAsync(static (x, _) => x, 1).Within());
    }

    [Theory] // S36: whatever a job does to its process
    [InlineData(ChaosKind.Exit3)]
    [InlineData(ChaosKind.FailFast)]
    [InlineData(ChaosKind.StackOverflow)]
    public async Task AJobThatEndsItsProcess_FailsAlone_NamingTheExit(ChaosKind kind)
    {
        Expect(40);
        Workers workers = Make(Home.ChildProcess, new() { Count = 1, OnLoss = AtOnce });

        Task<int> before = workers.SubmitAsync(static (x, _) => x, 1);
        Task<int> deadly = workers.SubmitAsync(static (k, _) => End(k), kind);
        Task<int> after = workers.SubmitAsync(static (x, _) => x, 2);

        JobFailedException failure = await Assert.ThrowsAsync<JobFailedException>(() => deadly.Within());
        Assert.Equal(
            kind switch { ChaosKind.Exit3 => ChildExitReason.ExitedEarly, ChaosKind.FailFast => ChildExitReason.FailFast, _ => ChildExitReason.StackOverflow },
            Assert.IsType<ChildProcessLostException>(failure.InnerException).Exit.Reason);
        Assert.Equal((1, 2), (await before.Within(), await after.Within()));
    }

    [Theory] // S36, S16: the last loss that the policy allows ends all, and every task
    [InlineData(false)]
    [InlineData(true)]
    public async Task ALossThatFaultsTheWorkers_EndsEveryTask(bool saysPlacement)
    {
        ExpectFailure();
        Expect(40);
        var options = new WorkersOptions { Count = 1, BoundedCapacity = 2 };
        Workers workers = Make(Home.ChildProcess, saysPlacement ? options with { Placement = Placement.ChildProcess with { OnLoss = LossPolicy.Fault } } : options with { OnLoss = LossPolicy.Fault });
        Meeting lost = Meet(1);
        Task<int> inWork = workers.SubmitAsync(Meeting.HoldAsync, lost);
        await lost.UntilBegunAsync();
        Task<int> queued = workers.SubmitAsync(static (x, _) => x, 1);
        Task<int> waiting = workers.SubmitAsync(static (x, _) => x, 2);

        Kill(lost.Process);

        JobFailedException failure = await Assert.ThrowsAsync<JobFailedException>(() => inWork.Within());
        Assert.True(failure.IsOutcomeUnknown && failure.IsCausedBy<ChildProcessLostException>());
        JobFailedException notRun = await Assert.ThrowsAsync<JobFailedException>(() => queued.Within());
        Assert.True(!notRun.IsOutcomeUnknown && notRun.IsCausedBy<ChildProcessLostException>());
        await Assert.ThrowsAsync<PipelineClosedException>(() => waiting.Within());
        await Assert.ThrowsAsync<StageFaultedException>(() => workers.Completion.Within());
        Assert.Equal((RunState.Faulted, 0, 3), (workers.Snapshot().State, workers.Snapshot().Succeeded, workers.Snapshot().Failed));
    }

    [Fact] // G11 of the original, S27: also those that ignore their token
    public async Task Dispose_OfAJobThatIgnoresItsToken_KillsItsWorker_AndEveryTaskEnds()
    {
        ExpectFailure();
        Workers workers = Make(Home.ChildProcess, new() { Count = 1, Placement = Placement.ChildProcess with { StopGrace = TimeSpan.FromMilliseconds(200) } });
        Meeting held = Meet(1);
        Task<int> stubborn = workers.SubmitAsync(static async (meeting, _) => await Meeting.HoldAsync(meeting, CancellationToken.None), held);
        Task<int> queued = workers.SubmitAsync(static (x, _) => x, 1);
        await held.UntilBegunAsync();

        await workers.DisposeAsync().AsTask().Within();

        Assert.True(stubborn.IsCanceled && queued.IsCanceled);
    }

    [Fact] // S26, S36
    public async Task JobTimeout_OfAJobThatIgnoresItsToken_KillsItsWorker_AndTheNextJobIsDone()
    {
        Expect(40);
        Workers workers = Make(Home.ChildProcess, new() { Count = 1, JobTimeout = TimeSpan.FromSeconds(5), AbortTimeout = TimeSpan.FromSeconds(5), TimeProvider = Time, OnLoss = AtOnce });
        Meeting held = Meet(1);
        Task<int> stubborn = workers.SubmitAsync(static async (meeting, _) => await Meeting.HoldAsync(meeting, CancellationToken.None), held);
        await held.UntilBegunAsync();

        await Waiting.UntilAsync(
            () =>
            {
                Time.Advance(TimeSpan.FromSeconds(1));
                return stubborn.IsCompleted;
            },
            "the job has failed");

        JobFailedException failure = await Assert.ThrowsAsync<JobFailedException>(() => stubborn);
        Assert.Equal((true, ChildExitReason.Hung), (failure.IsOutcomeUnknown, Assert.IsType<ChildProcessLostException>(failure.InnerException).Exit.Reason));
        Assert.Contains("did not return within AbortTimeout (00:00:05) after its JobTimeout (00:00:05)", failure.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("HangTimeout", failure.Message, StringComparison.Ordinal);
        Assert.Equal(1, await workers.SubmitAsync(static (x, _) => x, 1).Within());
    }

    private static int End(ChaosKind kind)
    {
        switch (kind)
        {
            case ChaosKind.Exit3:
                Environment.Exit(3);
                return 0;
            case ChaosKind.FailFast:
                Environment.FailFast("by a job");
                return 0;
            default:
                return 1 + End(kind);
        }
    }

    private static string TextOf(Meeting meeting)
    {
        try
        {
            return $"{meeting.Process}";
        }
        catch (FormatException)
        {
            // It is being written.
            return "";
        }
        catch (IOException)
        {
            return "";
        }
    }
}
