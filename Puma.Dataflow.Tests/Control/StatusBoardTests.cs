using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Control;

/// <summary>The board on which reports are put: several may write and read at once, and none waits for another.</summary>
public sealed class StatusBoardTests : PipelineTest
{
    [Fact] // S43
    public async Task ManyWritersAndReaders_EveryReportIsReadOrCounted_InOrder()
    {
        const int Writers = 3, Each = 20_000;
        var board = new StatusBoard();
        Task<long>[] reading = [.. ((int[])[1, 7, 100_000]).Select(capacity =>
        {
            StatusReader<int> reader = board.Read<int>(capacity, withChanges: true);
            return Task.Run(() => CountAsync(reader, Writers));
        })];
        Task[] writing = [.. Enumerable.Range(0, Writers).Select(w => Task.Run(() =>
        {
            for (int i = 1; i <= Each; i++)
                board.Add(new StatusReport<int>(i, w, DateTimeOffset.UnixEpoch));
        }))];
        await Task.WhenAll(writing).Within();
        board.End();

        Assert.All(await Task.WhenAll(reading).Within(), static count => Assert.Equal((long)Writers * Each, count));
        Assert.All(Enumerable.Range(0, Writers), w => Assert.Equal(Each, board.Latest<int>(w)!.Value));
    }

    [Fact]
    public async Task WhatComesAfterTheEnd_IsIgnored_AndReadersOfLaterGetWhatIsKept()
    {
        var board = new StatusBoard();
        board.Add(new StatusReport<int>(1, 0, DateTimeOffset.UnixEpoch));
        board.End();
        board.Add(new StatusReport<int>(2, 0, DateTimeOffset.UnixEpoch));

        Assert.Equal(1, board.Latest<int>(null)!.Value);
        using StatusReader<int> reader = board.Read<int>(1, withChanges: true);
        Assert.Equal(1, (await reader.ReadAsync(TestToken))!.Value);
        Assert.Null(await reader.ReadAsync(TestToken));
    }

    [Fact] // S43: the latest of each instance, however many there are
    public async Task WhatAReaderBeginsWith_TakesNoneOfItsCapacity()
    {
        const int Instances = 200;
        var board = new StatusBoard();
        for (int i = 0; i < Instances; i++)
            board.Add(new StatusReport<int>(i, i, DateTimeOffset.UnixEpoch));
        using StatusReader<int> reader = board.Read<int>(2, withChanges: true);
        for (int i = 1; i <= 5; i++)
            board.Add(new StatusReport<int>(-i, 0, DateTimeOffset.UnixEpoch));
        board.End();

        List<(int Value, long Dropped)> read = [];
        while (await reader.ReadAsync(TestToken) is { } report)
            read.Add((report.Value, report.Dropped));

        Assert.Equal([.. Enumerable.Range(0, Instances).Select(static i => (i, 0L)), (-4, 3L), (-5, 0L)], read);
    }

    [Fact] // S43: a reader that went away costs nothing any more
    public void AReader_IsForgottenWhenItIsDisposed()
    {
        var board = new StatusBoard();
        WeakReference reader = OpenAndDispose(board);
        GC.Collect();

        Assert.False(reader.IsAlive);
        GC.KeepAlive(board);

        static WeakReference OpenAndDispose(StatusBoard board)
        {
            StatusReader<int> reader = board.Read<int>(1, withChanges: true);
            reader.Dispose();
            return new WeakReference(reader);
        }
    }

    [Fact]
    public async Task ManyStates_TheLastChangesAreKept_AndTheOthersCounted()
    {
        var progress = new StageProgress(TimeProvider.System);
        progress.Start();
        for (int i = 0; i < 100; i++)
            progress.ShowRestarting(i % 2 == 0);
        progress.End(StageState.Completed);
        progress.Board.Add(new StatusReport<StageState>(StageState.Running, null, default));

        using StatusReader<StageState> reader = progress.Board.Read<StageState>(1000, withChanges: true);
        Assert.Equal(64, reader.Unread);
        StatusReport<StageState> first = (await reader.ReadAsync(TestToken))!;
        Assert.Equal((StageState.Running, 103L - 64), (first.Value, first.Dropped));
        using StatusReader<StageState> latest = progress.Board.Read<StageState>(1000, withChanges: false);
        Assert.Equal(StageState.Completed, (await latest.ReadAsync(TestToken))!.Value);
    }

    [Fact]
    public async Task WrongArguments_AreRefused()
    {
        PipelineRun run = Start(Pipeline.From([1]).ForEach(static _ => { }, new() { Name = "end" }));
        StageStatus status = run.Stage("end").Status;

        Assert.Throws<ArgumentOutOfRangeException>("instance", () => status.Latest<int>(-1));
        Assert.Throws<ArgumentOutOfRangeException>("capacity", () => { status.ReadAllAsync<int>(0, TestToken); });
        await Assert.ThrowsAsync<ArgumentNullException>("condition", () => status.WaitAsync<int>(null!, TimeSpan.Zero, TestToken));
        foreach (TimeSpan timeout in (TimeSpan[])[TimeSpan.FromTicks(-1), TimeSpan.FromMilliseconds(-2), TimeSpan.MaxValue])
        {
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>("timeout", () => status.WaitAsync<int>(timeout, TestToken));
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>("timeout", () => status.WaitAsync<int>(static _ => true, timeout, TestToken));
        }

        await run.Completion.Within();
    }

    [Fact]
    public async Task AWaitThatIsCancelled_EndsWithTheTokenOfItsCaller()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static _ => { }, new() { Name = "end" }));
        using var canceling = new CancellationTokenSource();
        Task<StatusReport<string>> waiting = run.Stage("end").Status.WaitAsync<string>(Timeout.InfiniteTimeSpan, canceling.Token);

        await canceling.CancelAsync();

        Assert.Equal(canceling.Token, (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.Within())).CancellationToken);
        run.Complete();
        await run.Completion.Within();
    }

    [Fact] // S43: a condition that throws is the waiter's business, and one that never holds ends with its time although reports keep coming
    public async Task AConditionThatThrows_FailsTheWaitAlone()
    {
        PipelineRun run = Start(Pipeline.From([1]).ForEach(static _ => { }, new() { Name = "end" }));
        StageStatus status = run.Stage("end").Status;

        await Assert.ThrowsAsync<FormatException>(() => status.WaitAsync<StageState>(static _ => throw new FormatException(), Timeout.InfiniteTimeSpan, TestToken).Within());
        await run.Completion.Within();
        Assert.Equal(StageState.Completed, (await status.WaitAsync<StageState>(static s => s == StageState.Completed, TimeSpan.Zero, TestToken)).Value);
    }

    private static async Task<long> CountAsync(StatusReader<int> reader, int writers)
    {
        using (reader)
        {
            long count = 0;
            var last = new int[writers];
            while (await reader.ReadAsync(TestToken) is { } report)
            {
                Assert.True(report.Value > last[report.Instance!.Value], "Each writer's reports come in order.");
                last[report.Instance.Value] = report.Value;
                count += report.Dropped + 1;
            }

            return count;
        }
    }
}
