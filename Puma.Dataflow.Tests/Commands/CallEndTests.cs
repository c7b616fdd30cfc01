using Microsoft.Extensions.Logging;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

public interface IRetried
{
    ValueTask<int> AttemptsAsync();
}

/// <summary>Each call ends, whatever the stage does meanwhile: it retries an item, finishes, or fails.</summary>
public sealed class CallEndTests : ChildTest
{
    private const string Fails = "the first attempt fails";

    public static TheoryData<string> OnFakeTime => Placed.OnFakeTime;

    public static TheoryData<string, string> Ends
    {
        get
        {
            TheoryData<string, string> all = [];
            foreach (string place in (string[])["in process", "own thread", "loopback", "child process"])
            {
                foreach (string end in (string[])["complete", "finish", "stop", "cancel", "fault"])
                    all.Add(place, end);
            }

            return all;
        }
    }

    private PipelineRun<int> StartRetried(string place) => Start(
        Pipeline.Accept<int>()
            .Then(static () => new Retried(), Placed.At(place, "retried") with { ErrorPolicy = ErrorPolicy.Retry(1, Backoff.Constant(TimeSpan.FromSeconds(10))) })
            .ForEach(static _ => { }),
        FakeTimeOptions with { SlowCallWarning = Timeout.InfiniteTimeSpan, StallTimeout = Timeout.InfiniteTimeSpan });

    private Task UntilItHasFailedAsync() => Waiting.UntilAsync(() => Log.Records.Any(static r => r.Message == Fails), "the first attempt fails");

    [Theory, MemberData(nameof(OnFakeTime))] // S35, S41
    public async Task ACall_WhileAnItemWaitsForItsRetry_RunsAfterTheItem(string place)
    {
        PipelineRun<int> run = StartRetried(place);
        await run.SendAsync(1, TestToken);
        await UntilItHasFailedAsync();

        Task<int> call = run.Control<IRetried>("retried").AttemptsAsync().AsTask();
        await Waiting.UntilAsync(() =>
        {
            Time.Advance(TimeSpan.FromSeconds(1));
            return call.IsCompleted;
        }, "the call is answered");

        Assert.Equal(2, await call);
        run.Complete();
        await run.Completion.Within();
        Assert.Equal(1, (await run.Report).Stage("retried").Delivered);
    }

    [Theory, MemberData(nameof(OnFakeTime))] // S35, S42
    public async Task ACall_WhileAnItemWaitsForItsRetry_FailsWhenTheRunIsCanceled(string place)
    {
        ExpectFailure();
        PipelineRun<int> run = StartRetried(place);
        await run.SendAsync(1, TestToken);
        await UntilItHasFailedAsync();
        Task<int> call = run.Control<IRetried>("retried").AttemptsAsync().AsTask();

        run.Cancel();

        Assert.Equal(CommandFailure.StageEnded, (await Assert.ThrowsAsync<CommandFailedException>(() => call.Within())).Failure);
        await run.Report.Within();
    }

    [Theory, MemberData(nameof(Ends))] // S42
    public async Task CallsThatRaceTheEnd_AreAnsweredOrRefused(string place, string end)
    {
        const int Callers = 8;
        ExpectFailure();
        for (int round = place == "child process" ? 1 : 20; round > 0; round--)
        {
            PipelineRun<int> run = Start(Pipeline.Accept<int>().Then(static () => new Counter(), Placed.At(place, "counter")).ForEach(static _ => { }), Options with { SlowCallWarning = Timeout.InfiniteTimeSpan });
            ICounter counter = run.Control<ICounter>("counter");
            int answered = 0;
            Task[] callers = [.. Enumerable.Range(0, Callers).Select(caller => Task.Run(async () =>
            {
                for (int call = 0; ; call++)
                {
                    Assert.Equal($"{caller} {call} x", await counter.JoinAsync($"{caller}", call, ["x"]));
                    Interlocked.Increment(ref answered);
                }
            }))];
            await Waiting.UntilAsync(() => Volatile.Read(ref answered) > Callers, "the callers are at it");

            await EndAsync(run, end);

            foreach (Task caller in callers)
                Assert.Equal(CommandFailure.StageEnded, (await Assert.ThrowsAsync<CommandFailedException>(() => caller.Within())).Failure);
        }
    }

    private static async Task EndAsync(PipelineRun<int> run, string end)
    {
        switch (end)
        {
            case "complete":
                run.Complete();
                break;
            case "finish":
                await run.Stage("counter").FinishAsync().Within();
                break;
            case "stop":
                await run.StopAsync(Waiting.Limit).Within();
                break;
            case "cancel":
                run.Cancel();
                break;
            case "fault":
                run.Fault(new FormatException("from outside"));
                break;
        }

        await run.Report.Within();
    }

    private sealed class Retried : Runnable<int, int>, IRetried
    {
        private int _attempts;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (++_attempts > 1)
                return EmitAsync(item, cancellationToken);
            Context.Logger.LogInformation(Fails);
            throw new FormatException(Fails);
        }

        public ValueTask<int> AttemptsAsync() => ValueTask.FromResult(_attempts);
    }
}
