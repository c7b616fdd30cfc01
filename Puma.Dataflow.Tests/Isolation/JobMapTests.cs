using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Jobs for the elements of a sequence.</summary>
public sealed class JobMapTests : JobTest
{
    [Theory]
    [MemberData(nameof(Homes))]
    public async Task Results_ComeInTheOrderOfTheElements_AlsoWhenJobsEndInAnother(Home home)
    {
        Workers workers = Make(home, new() { Count = 4 });
        Meeting[] meetings = [.. Enumerable.Range(1, 4).Select(Meet)];
        Task<List<int>> reading = CollectAsync(workers.MapAsync(Meeting.HoldAsync, meetings, TestToken));
        foreach (Meeting meeting in meetings)
            await meeting.UntilBegunAsync();

        for (int i = meetings.Length; i > 0; i--)
        {
            meetings[i - 1].LetGo();
            await Waiting.UntilAsync(() => workers.Snapshot().Succeeded == meetings.Length - i + 1, $"job {i} has ended");
        }

        Assert.Equal([1, 2, 3, 4], await reading.Within());
    }

    [Theory]
    [MemberData(nameof(Homes))]
    public async Task EveryKindOfDelegate_AndManyElements(Home home)
    {
        Workers workers = Make(home, new() { Count = 2, BoundedCapacity = 8 });
        IEnumerable<int> numbers = Enumerable.Range(1, 300);

        Assert.Equal(numbers.Select(static x => x * 2), await CollectAsync(workers.MapAsync(static (x, _) => x * 2, numbers)).Within());
        Assert.Equal(numbers.Select(static x => $"{x}"), await CollectAsync(workers.MapAsync(static async (x, ct) => await TextAsync(x, ct), numbers)).Within());
        Assert.Equal(numbers.Select(static x => $"{x}"), await CollectAsync(workers.MapAsync(static (x, ct) => new ValueTask<string>(TextAsync(x, ct)), numbers)).Within());
        Assert.Empty(await CollectAsync(workers.MapAsync(static (x, _) => x, Array.Empty<int>())).Within());
    }

    private static async Task<string> TextAsync(int number, CancellationToken cancellationToken)
    {
        await Task.Yield();
        cancellationToken.ThrowIfCancellationRequested();
        return $"{number}";
    }

    [Theory] // G11 of the original
    [MemberData(nameof(Homes))]
    public async Task AFailingJob_EndsTheEnumerationInItsTurn_AndThoseAheadAreCancelled(Home home)
    {
        Workers workers = Make(home, new() { Count = 2 });
        Meeting[] meetings = [.. Enumerable.Range(1, 10).Select(Meet)];
        meetings[0].LetGo();
        List<int> seen = [];

        JobFailedException failure = await Assert.ThrowsAsync<JobFailedException>(async () =>
        {
            await foreach (int number in workers.MapAsync(FailAtTwoAsync, meetings, TestToken))
                seen.Add(number);
        }).WaitAsync(Waiting.Limit, TestToken);

        Assert.True(failure.IsCausedBy<FormatException>());
        Assert.Equal([1], seen);
        await workers.CompleteAsync().Within();
        WorkersSnapshot end = workers.Snapshot();
        Assert.Equal((1, 1, 8), (end.Succeeded, end.Failed, end.Canceled));
    }

    [Theory]
    [MemberData(nameof(Homes))]
    public async Task ASequenceThatFails_GivesTheResultsOfWhatCameBefore_AndThenItsFailure(Home home)
    {
        Workers workers = Make(home, new() { Count = 2 });
        var failure = new InvalidOperationException("the sequence has a hole");
        List<int> seen = [];

        Exception thrown = await Assert.ThrowsAsync<InvalidOperationException>(async () =>
        {
            await foreach (int number in workers.MapAsync(static (x, _) => x * 2, ThenFail(), TestToken))
                seen.Add(number);
        }).WaitAsync(Waiting.Limit, TestToken);

        Assert.Same(failure, thrown);
        Assert.Equal([2, 4, 6], seen);
        await workers.CompleteAsync().Within();
        Assert.Equal((3, 0, 0), (workers.Snapshot().Succeeded, workers.Snapshot().Failed, workers.Snapshot().Canceled));

        IEnumerable<int> ThenFail()
        {
            yield return 1;
            yield return 2;
            yield return 3;
            throw failure;
        }
    }

    private static Task<int> FailAtTwoAsync(Meeting meeting, CancellationToken cancellationToken) =>
        meeting.Number == 2 ? throw new FormatException("the second") : Meeting.HoldAsync(meeting, cancellationToken);

    [Theory]
    [MemberData(nameof(Homes))]
    public async Task LeavingEarly_CancelsWhatIsAhead(Home home)
    {
        Workers workers = Make(home, new() { Count = 2 });
        Meeting[] meetings = [.. Enumerable.Range(1, 5).Select(Meet)];
        meetings[0].LetGo();

        await foreach (int number in workers.MapAsync(Meeting.HoldAsync, meetings, TestToken))
        {
            Assert.Equal(1, number);
            break;
        }

        await workers.CompleteAsync().Within();
        Assert.Equal((1, 4), (workers.Snapshot().Succeeded, workers.Snapshot().Canceled));
    }

    [Theory]
    [MemberData(nameof(Homes))]
    public async Task Cancel_EndsTheEnumeration_WithTheCallersToken(Home home)
    {
        using var source = new CancellationTokenSource();
        Workers workers = Make(home, new() { Count = 2 });
        Meeting[] meetings = [.. Enumerable.Range(1, 5).Select(Meet)];
        Task<List<int>> reading = CollectAsync(workers.MapAsync(Meeting.HoldAsync, meetings, source.Token));
        await meetings[1].UntilBegunAsync();

        await source.CancelAsync();

        OperationCanceledException canceled = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading.Within());
        Assert.Equal(source.Token, canceled.CancellationToken);
        await workers.CompleteAsync().Within();
        Assert.Equal((0, 5), (workers.Snapshot().Succeeded, workers.Snapshot().Canceled));
    }

    [Fact]
    public async Task Elements_AreReadNoFurtherAheadThanTheCapacity()
    {
        Workers workers = Make(Home.InProcess, new() { Count = 2, BoundedCapacity = 4 });
        int read = 0;
        IEnumerable<Meeting> Endless()
        {
            while (true)
                yield return Meet(++read);
        }

        Meet(1).LetGo();
        await using (IAsyncEnumerator<int> results = workers.MapAsync(Meeting.HoldAsync, Endless(), TestToken).GetAsyncEnumerator(TestToken))
        {
            Assert.True(await results.MoveNextAsync().AsTask().Within());
            Assert.InRange(read, 1, 4);

            ValueTask<bool> second = results.MoveNextAsync();
            Assert.False(second.IsCompleted);
            Assert.Equal(5, read);
            Meet(2).LetGo();
            Assert.True(await second.AsTask().Within());
            Assert.Equal(2, results.Current);
        }

        await workers.CompleteAsync().Within();
    }

    private static async Task<List<T>> CollectAsync<T>(IAsyncEnumerable<T> results)
    {
        List<T> all = [];
        await foreach (T result in results)
            all.Add(result);
        return all;
    }
}
