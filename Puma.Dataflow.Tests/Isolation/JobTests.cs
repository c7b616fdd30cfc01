using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What workers promise of each job, wherever they live.</summary>
public sealed class JobTests : JobTest
{
    public sealed record Words(string Text, IReadOnlyList<int> Lengths);

    [Theory]
    [MemberData(nameof(Homes))]
    public async Task EveryKindOfDelegate_ReturnsItsResult(Home home)
    {
        Workers workers = Make(home, new() { Count = 2 });

        Assert.Equal(3, await workers.SubmitAsync(static (text, _) => text.Length, "abc", TestToken).Within());
        Assert.Equal("ABC", await workers.SubmitAsync(static async (text, ct) => await LaterAsync(text.ToUpperInvariant(), ct), "abc").Within());
        Assert.Equal("abc", await workers.SubmitAsync(LaterAsync, "abc").Within());
        Assert.Equal("abc", await workers.SubmitAsync(static (text, ct) => new ValueTask<string>(LaterAsync(text, ct)), "abc").Within());
        Words words = await workers.SubmitAsync(static (text, _) => new Words(text, [.. text.Split(' ').Select(static w => w.Length)]), "abc de").Within();
        Assert.Equal([3, 2], words.Lengths);
        Assert.Equal((1, "x"), await workers.SubmitAsync(static (pair, _) => (pair.Number, pair.Text), (Number: 1, Text: "x")).Within());
        Assert.Equal(200_000, (await workers.SubmitAsync(static (bytes, _) => bytes.Concat(bytes).ToArray(), new byte[100_000]).Within()).Length);
        Assert.Null(await workers.SubmitAsync(static (text, _) => text, (string?)null).Within());

        Meeting[] told = [Meet(1), Meet(2), Meet(3)];
        foreach (Meeting meeting in told)
            meeting.LetGo();
        await workers.SubmitAsync(static (meeting, _) => WriteBegun(meeting), told[0]).Within();
        await workers.SubmitAsync(static (Meeting meeting, CancellationToken ct) => (Task)Meeting.HoldAsync(meeting, ct), told[1]).Within();
        await workers.SubmitAsync(static (meeting, ct) => new ValueTask(Meeting.HoldAsync(meeting, ct)), told[2]).Within();
        Assert.All(told, static m => Assert.True(m.HasBegun));
        Assert.Equal(11, workers.Snapshot().Succeeded);
    }

    [Theory, MemberData(nameof(Homes))]
    public async Task Dispose_WhenEveryJobHasItsResult_CancelsNothing(Home home)
    {
        Workers workers = Make(home, new() { Count = 2 });
        Assert.Equal(2, await workers.SubmitAsync(static (x, _) => x + 1, 1, TestToken).Within());

        await workers.DisposeAsync().AsTask().Within();

        Assert.Equal(RunState.Completed, (await workers.Report.Within()).State);
    }

    private static async Task<string> LaterAsync(string text, CancellationToken cancellationToken)
    {
        await Task.Yield();
        cancellationToken.ThrowIfCancellationRequested();
        return text;
    }

    private static void WriteBegun(Meeting meeting) => meeting.Begin();

    [Theory]
    [MemberData(nameof(Homes))]
    public async Task ManyCallers_EachGetsTheAnswersToItsOwnJobs(Home home)
    {
        const int Callers = 100, Jobs = 100;
        Workers workers = Make(home, new() { Count = 2, BoundedCapacity = 32 });

        await Task.WhenAll(Enumerable.Range(0, Callers).Select(caller => Task.Run(async () =>
        {
            for (int i = 0; i < Jobs; i++)
            {
                int number = (caller * Jobs) + i;
                if (i % 2 == 0)
                    Assert.Equal(number * 3L, await workers.SubmitAsync(static (x, _) => x * 3L, number));
                else
                    Assert.Equal($"<{number}>", await workers.SubmitAsync(static (x, _) => $"<{x}>", number));
            }
        }))).Within(TimeSpan.FromMinutes(2));

        await workers.CompleteAsync().Within();
        WorkersSnapshot end = workers.Snapshot();
        Assert.Equal((RunState.Completed, Callers * Jobs, 0, 0), (end.State, end.Succeeded, end.Failed, end.Canceled));
        Assert.InRange((await workers.Report).Stage("workers").MaxSlotsHeld, 1, 32);
    }

    [Theory] // S3, S15
    [MemberData(nameof(Homes))]
    public async Task AJobThatThrows_FailsItsOwnTaskOnly(Home home)
    {
        Workers workers = Make(home, new() { Count = 1 });
        Task<int>[] tasks = [.. Enumerable.Range(1, 5).Select(i => workers.SubmitAsync(static (i, _) => i == 3 ? throw new FormatException("the third") : i, i))];

        JobFailedException failure = await Assert.ThrowsAsync<JobFailedException>(() => tasks[2].Within());
        Assert.True(failure.IsCausedBy<FormatException>());
        Assert.True(failure.IsCausedBy<SystemException>());
        Assert.False(failure.IsCausedBy<InvalidOperationException>());
        Assert.Equal(("workers", 3L, false), (failure.WorkersName, failure.JobNumber, failure.IsOutcomeUnknown));
        Assert.Equal(home == Home.ChildProcess, failure.ProcessId != Environment.ProcessId);
        Assert.Equal("the third", failure.InnerException!.Message);
        Assert.IsType(home == Home.InProcess ? typeof(FormatException) : typeof(RemoteRunnableException), failure.InnerException);
        Assert.Contains("FormatException: the third", failure.Message, StringComparison.Ordinal);
        int[] others = await Task.WhenAll(tasks.Where((_, i) => i != 2)).Within();
        Assert.Equal([1, 2, 4, 5], others);

        // That it was a cancellation of something else makes it no cancelled job.
        failure = await Assert.ThrowsAsync<JobFailedException>(() => workers.SubmitAsync(static (int _, CancellationToken _) => Cancel(), 0).Within());
        Assert.True(failure.IsCausedBy<OperationCanceledException>());
    }

    private static int Cancel() => throw new OperationCanceledException("of its own");

    [Theory] // G11 of the original: nobody awaits it, and nothing is said of it as of an unobserved exception
    [MemberData(nameof(Homes))]
    public async Task AFailedJobThatNobodyAwaits_IsNoUnobservedException(Home home)
    {
        Workers workers = Make(home, new() { Count = 1 });
        Forget(workers);
        await workers.CompleteAsync().Within();
        Forget(workers); // is refused, and no job
        Assert.Equal(1, workers.Snapshot().Failed);

        static void Forget(Workers workers) => _ = workers.SubmitAsync(static (int _, CancellationToken _) => Fail(), 0);
    }

    private static int Fail() => throw new FormatException("always");

    [Theory] // no job waits behind a long one while a worker is free
    [MemberData(nameof(Homes))]
    public async Task AFreeWorker_TakesTheNextJob(Home home)
    {
        Workers workers = Make(home, new() { Count = 2 });
        Meeting held = Meet(1);
        Task<int> holding = workers.SubmitAsync(Meeting.HoldAsync, held);
        Task<int>[] others = [.. Enumerable.Range(1, 40).Select(i => workers.SubmitAsync(static (x, _) => x, i))];
        await held.UntilBegunAsync();

        Assert.Equal(Enumerable.Range(1, 40), await Task.WhenAll(others).Within());
        Assert.False(holding.IsCompleted);
        Assert.Equal((1, 0, 40), (workers.Snapshot().Running, workers.Snapshot().Queued, workers.Snapshot().Succeeded));
        held.LetGo();
        Assert.Equal(1, await holding.Within());
    }

    [Theory]
    [MemberData(nameof(Homes))]
    public async Task Cancel_OfAJobThatWaits_EndsItAtOnce_AndItNeverRuns(Home home)
    {
        using var source = new CancellationTokenSource();
        Workers workers = Make(home, new() { Count = 1, BoundedCapacity = 2 });
        (Meeting held, Meeting queued, Meeting waiting) = (Meet(1), Meet(2), Meet(3));
        Task<int> holding = workers.SubmitAsync(Meeting.HoldAsync, held);
        await held.UntilBegunAsync();
        Task<int> inQueue = workers.SubmitAsync(Meeting.HoldAsync, queued, source.Token);
        Task<int> forAPlace = workers.SubmitAsync(Meeting.HoldAsync, waiting, source.Token);
        WorkersSnapshot now = workers.Snapshot();
        Assert.Equal((1, 1, 1), (now.Running, now.Queued, now.Waiting));

        await source.CancelAsync();

        foreach (Task<int> task in (Task<int>[])[inQueue, forAPlace])
            Assert.Equal(source.Token, (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => task.Within())).CancellationToken);
        Assert.False(holding.IsCompleted);
        held.LetGo();
        await holding.Within();
        Assert.Equal(7, await workers.SubmitAsync(static (x, _) => x, 7).Within());
        Assert.False(queued.HasBegun || waiting.HasBegun);
        Assert.Equal(2, workers.Snapshot().Canceled);

        // It was no job.
        Assert.True(workers.SubmitAsync(static (x, _) => x, 7, source.Token).IsCanceled);
        Assert.Equal(2, workers.Snapshot().Canceled);
    }

    [Theory]
    [MemberData(nameof(Homes))]
    public async Task Cancel_OfAJobThatRuns_FiresItsToken_AndNoOther(Home home)
    {
        using var source = new CancellationTokenSource();
        Workers workers = Make(home, new() { Count = 2 });
        (Meeting canceled, Meeting other) = (Meet(1), Meet(2));
        Task<int> task = workers.SubmitAsync(Meeting.HoldAsync, canceled, source.Token);
        await canceled.UntilBegunAsync();
        Task<int> bystander = workers.SubmitAsync(Meeting.HoldAsync, other);
        await other.UntilBegunAsync();

        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => task.Within());
        Assert.True(task.IsCanceled && canceled.WasCanceled);
        Assert.False(bystander.IsCompleted || other.WasCanceled);

        // Its worker goes on, with a token that has not fired.
        Meeting next = Meet(3);
        next.LetGo();
        Assert.Equal(3, await workers.SubmitAsync(Meeting.HoldAsync, next).Within());
        Assert.Equal(canceled.Process, next.Process);
        other.LetGo();
        Assert.Equal(2, await bystander.Within());
        Assert.Equal((2, 0, 1), (workers.Snapshot().Succeeded, workers.Snapshot().Failed, workers.Snapshot().Canceled));
    }

    [Theory] // the sooner the cancellation comes, the likelier it meets the job on its way
    [MemberData(nameof(Homes))]
    public async Task Cancel_AtAnyMoment_EndsTheJob(Home home)
    {
        Workers workers = Make(home, new() { Count = 2 });
        for (int i = 0; i < 100; i++)
        {
            using var source = new CancellationTokenSource();
            Task<int> task = workers.SubmitAsync(static (_, ct) => ForeverAsync(ct), i, source.Token);
            for (int wait = 0; wait < i * 10; wait++)
                await Task.Yield();
            await source.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => task.Within());
        }

        Assert.Equal(1, await workers.SubmitAsync(static (x, _) => x, 1).Within());
    }

    private static async Task<int> ForeverAsync(CancellationToken cancellationToken)
    {
        await Task.Delay(Timeout.Infinite, cancellationToken);
        return 0;
    }

    [Theory] // S50; G11 of the original
    [MemberData(nameof(Homes))]
    public async Task Dispose_CancelsWhatWaitsAndWhatRuns_AndEveryTaskEnds(Home home)
    {
        ExpectFailure();
        Workers workers = Make(home, new() { Count = 2, BoundedCapacity = 4, AbortTimeout = Waiting.Limit });
        Meeting[] meetings = [.. Enumerable.Range(1, 10).Select(Meet)];
        Task<int>[] tasks = [.. meetings.Select(m => workers.SubmitAsync(Meeting.HoldAsync, m))];
        await meetings[0].UntilBegunAsync();
        await meetings[1].UntilBegunAsync();

        await workers.DisposeAsync().AsTask().Within();

        Assert.All(tasks, static t => Assert.True(t.IsCanceled));
        Assert.True(meetings[0].WasCanceled && meetings[1].WasCanceled);
        Assert.All(meetings[2..], static m => Assert.False(m.HasBegun));
        Assert.Equal((RunState.Canceled, 10), (workers.Snapshot().State, workers.Snapshot().Canceled));
        PipelineClosedException closed = await Assert.ThrowsAsync<PipelineClosedException>(() => workers.SubmitAsync(static (x, _) => x, 1).Within());
        Assert.Equal("workers", closed.Stage);
        Assert.Equal("The workers 'workers' take no more jobs: they are Canceled. The job was not accepted and did not run.", closed.Message);
        Assert.Equal((0, 10), (workers.Snapshot().Failed, workers.Snapshot().Canceled));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => workers.Completion.Within());
    }

    [Theory] // S23
    [MemberData(nameof(Homes))]
    public async Task TheTokenOfCreate_CancelsAll(Home home)
    {
        ExpectFailure();
        using var source = new CancellationTokenSource();
        Workers workers = Make(home, new() { Count = 1, AbortTimeout = Waiting.Limit }, source.Token);
        Meeting held = Meet(1);
        Task<int>[] tasks = [workers.SubmitAsync(Meeting.HoldAsync, held), workers.SubmitAsync(Meeting.HoldAsync, Meet(2))];
        await held.UntilBegunAsync();

        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => workers.Completion.Within());
        Assert.All(tasks, static t => Assert.True(t.IsCanceled));
        await Assert.ThrowsAsync<PipelineClosedException>(() => workers.SubmitAsync(static (x, _) => x, 1).Within());
    }

    [Theory] // S9
    [MemberData(nameof(Homes))]
    public async Task Complete_DoesWhatWasSubmitted_AlsoWhatWaitsForAPlace(Home home)
    {
        Workers workers = Make(home, new() { Count = 1, BoundedCapacity = 2 });
        Meeting held = Meet(1);
        Task<int> holding = workers.SubmitAsync(Meeting.HoldAsync, held);
        Task<int>[] others = [.. Enumerable.Range(1, 10).Select(i => workers.SubmitAsync(static (x, _) => x, i))];
        await held.UntilBegunAsync();

        Task completing = workers.CompleteAsync();

        Assert.False(completing.IsCompleted);
        await Assert.ThrowsAsync<PipelineClosedException>(() => workers.SubmitAsync(static (x, _) => x, 1).Within());
        held.LetGo();
        await completing.Within();
        Assert.True(holding.IsCompletedSuccessfully);
        Assert.Equal(Enumerable.Range(1, 10), await Task.WhenAll(others).Within());
        Assert.Same(completing, workers.CompleteAsync());
    }

    [Theory] // S25
    [MemberData(nameof(Homes))]
    public async Task Stop_CancelsAtTheDeadline(Home home)
    {
        ExpectFailure();
        Workers workers = Make(home, new() { Count = 1, TimeProvider = Time });
        Meeting held = Meet(1);
        Task<int> quick = workers.SubmitAsync(static (x, _) => x, 1);
        Task<int> holding = workers.SubmitAsync(Meeting.HoldAsync, held);
        await held.UntilBegunAsync();

        Task<WorkersSnapshot> stopping = workers.StopAsync(TimeSpan.FromSeconds(10));
        Assert.False(stopping.IsCompleted);
        Time.Advance(TimeSpan.FromSeconds(10));

        WorkersSnapshot end = await stopping.Within();
        Assert.Equal((RunState.Canceled, 1, 1), (end.State, end.Succeeded, end.Canceled));
        Assert.True(quick.IsCompletedSuccessfully && holding.IsCanceled);
    }

    [Theory] // S26
    [MemberData(nameof(Homes))]
    public async Task JobTimeout_FiresTheTokenOfTheJobThatTakesTooLong_AndFailsIt(Home home)
    {
        Workers workers = Make(home, new() { Count = 1, JobTimeout = TimeSpan.FromSeconds(5), TimeProvider = Time, AbortTimeout = TimeSpan.FromDays(1) });
        Meeting held = Meet(1);
        Task<int> holding = workers.SubmitAsync(Meeting.HoldAsync, held);
        await held.UntilBegunAsync();

        await Waiting.UntilAsync(
            () =>
            {
                Time.Advance(TimeSpan.FromSeconds(1));
                return holding.IsCompleted;
            },
            "the job has failed");

        JobFailedException failure = await Assert.ThrowsAsync<JobFailedException>(() => holding);
        Assert.IsType<TimeoutException>(failure.InnerException);
        Assert.Contains("JobTimeout (00:00:05)", failure.Message, StringComparison.Ordinal);
        Assert.True(held.WasCanceled);
        Assert.Equal(2, await workers.SubmitAsync(static (x, _) => x, 2).Within());
    }

    [Fact] // S26, S27: what does not return is left behind, and no caller waits for it
    public async Task InProcess_AJobThatNeverReturns_FaultsTheWorkers_AndEveryTaskEnds()
    {
        ExpectFailure();
        Expect(12);

        // The clock is moved until both have ended, however far that is.
        Expect(31);
        Workers workers = Make(Home.InProcess, new() { Count = 1, JobTimeout = TimeSpan.FromSeconds(5), TimeProvider = Time });
        var held = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        var begun = new Gate();
        Task<int> stuck = workers.SubmitAsync(
            (_, _) =>
            {
                begun.Open();
                return held.Task;
            },
            1);
        Task<int> queued = workers.SubmitAsync(static (x, _) => x, 2);
        await begun.WaitAsync();

        await Waiting.UntilAsync(
            () =>
            {
                Time.Advance(TimeSpan.FromSeconds(1));
                return stuck.IsCompleted && queued.IsCompleted;
            },
            "both have ended");

        JobFailedException given = await Assert.ThrowsAsync<JobFailedException>(() => stuck);
        Assert.True(given.IsOutcomeUnknown && given.IsCausedBy<TimeoutException>());
        JobFailedException notRun = await Assert.ThrowsAsync<JobFailedException>(() => queued);
        Assert.False(notRun.IsOutcomeUnknown);
        Assert.Contains("not run", notRun.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<StageFaultedException>(() => workers.Completion.Within());
        Assert.NotNull(workers.Snapshot().Cause);
        await Assert.ThrowsAsync<PipelineClosedException>(() => workers.SubmitAsync(static (x, _) => x, 2).Within());
        held.SetResult(1);
    }

    [Fact]
    public async Task InProcess_ArgumentsAndResultsGoByReference_AndDelegatesMayCapture()
    {
        Workers workers = Make(Home.InProcess, new() { Count = 1, OwnThread = true });
        object argument = new();
        int captured = 0;

        object result = await workers.SubmitAsync(
            (o, _) =>
            {
                captured++;
                return o;
            },
            argument).Within();

        Assert.Same(argument, result);
        Assert.Equal(1, captured);
    }
}
