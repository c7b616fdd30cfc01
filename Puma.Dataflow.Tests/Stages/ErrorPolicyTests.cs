using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

public sealed class ErrorPolicyTests : PipelineTest
{
    [Theory] // S30, S35
    [InlineData(1)]
    [InlineData(3)]
    public async Task Skip_LeavesTheItemOut(int parallelism)
    {
        List<int> seen = [];
        PipelineRun run = Start(Numbers(10).Transform(ThrowOnEven, new() { Name = "odd", ErrorPolicy = ErrorPolicy.Skip, MaxDegreeOfParallelism = parallelism }).ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 3, 5, 7, 9], seen);
        Assert.Equal((10, 5, 5), (report.Stage("odd").Accepted, report.Stage("odd").Delivered, report.Stage("odd").Skipped));
    }

    [Fact] // S33, S35
    public async Task DeadLetter_ToADelegate_CarriesAllThatIsKnown()
    {
        List<DeadLetter<int>> letters = [];
        PipelineRun run = Start(Numbers(4).Transform(ThrowOnEven, new()
        {
            Name = "odd",
            ErrorPolicy = ErrorPolicy.Retry(2).Then(ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) =>
            {
                letters.Add(letter);
                return default;
            })),
        }).ForEach(static _ => { }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([2, 4], letters.Select(static l => l.Item));
        DeadLetter<int> last = letters[1];
        Assert.Equal((4, "odd", 4L, 3), (last.Item, last.Stage, last.ItemNumber, last.Attempts));
        Assert.Equal(4, Assert.IsType<int>(last.Untyped));
        Assert.Equal("4", Assert.IsType<FormatException>(last.Error).Message);
        Assert.Equal((2, 2), (report.Stage("odd").DeadLettered, report.Stage("odd").Delivered));
        Assert.Equal(2, report.Stage("dead-letters").Delivered);
    }

    [Fact] // S33
    public async Task DeadLetter_SeveralStagesFeedOneTarget_WhichCompletesAfterAll()
    {
        var letters = new BufferBlock<DeadLetter>();
        ErrorPolicy policy = ErrorPolicy.DeadLetter(letters);
        var gate = new Gate();
        PipelineRun run = Start(Numbers(4)
            .Transform(ThrowOnEven, new() { Name = "first", ErrorPolicy = policy })
            .ForEach(async (x, ct) =>
            {
                await gate.WaitAsync(ct);
                throw new NotSupportedException();
            }, new() { Name = "second", ErrorPolicy = policy }));
        await run.Stage("first").Completion.Within();
        await Waiting.UntilAsync(() => letters.Count == 2, "the letters of the first stage are there");
        Assert.False(letters.Completion.IsCompleted);
        gate.Open();
        await Waiting.UntilAsync(() => letters.Count == 4, "the letters of the second stage are there");

        Assert.True(letters.TryReceiveAll(out IList<DeadLetter>? all));
        await run.Completion.Within();
        await letters.Completion.Within();
        Assert.Equal(["first", "first", "second", "second"], all.Select(static l => l.Stage));
    }

    [Fact] // S33
    public async Task DeadLetter_ToAChannel_CompletesIt()
    {
        Channel<DeadLetter<int>> channel = Channel.CreateUnbounded<DeadLetter<int>>();
        PipelineRun run = Start(Numbers(4).Transform(ThrowOnEven, new() { ErrorPolicy = ErrorPolicy.DeadLetter(channel.Writer) }).ForEach(static _ => { }));
        await run.Completion.Within();

        List<int> items = [];
        await foreach (DeadLetter<int> letter in channel.Reader.ReadAllAsync(TestToken))
            items.Add(letter.Item);
        Assert.Equal([2, 4], items);
    }

    [Fact] // S33
    public async Task DeadLetter_TargetThrows_FaultsTheRun()
    {
        ExpectFailure();
        PipelineRun run = Start(Numbers(4).Transform(ThrowOnEven, new() { ErrorPolicy = ErrorPolicy.DeadLetter(static (DeadLetter<int> _, CancellationToken _) => throw new TimeZoneNotFoundException()) }).ForEach(static _ => { }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("dead-letters", fault.Stage);
        Assert.True(fault.IsCausedBy<TimeZoneNotFoundException>());
    }

    [Fact] // S3, S35
    public async Task Retry_UsedUp_FaultsWithTheLastAttempt()
    {
        ExpectFailure();
        int attempts = 0;
        PipelineRun run = Start(Numbers(1).Transform(x => ++attempts > 0 ? throw new FormatException() : x, new() { ErrorPolicy = ErrorPolicy.Retry(3) }).ForEach(static _ => { }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal((4, 4, 1L), (attempts, fault.Attempt, fault.ItemNumber));
    }

    [Fact] // S31
    public async Task Retry_PassesOnOnlyWhatTheGoodAttemptMade()
    {
        int attempts = 0;
        List<int> seen = [];
        PipelineRun run = Start(Numbers(1).TransformMany(_ => Many(++attempts), new() { ErrorPolicy = ErrorPolicy.Retry(3) }).ForEach(seen.Add));
        await run.Completion.Within();

        Assert.Equal([31, 32], seen);

        static IEnumerable<int> Many(int attempt)
        {
            yield return (attempt * 10) + 1;
            if (attempt < 3)
                throw new FormatException();
            yield return (attempt * 10) + 2;
        }
    }

    [Fact] // S34, S35
    public async Task Retry_PendingWhenTheRunCompletes_HoldsCompletionAndItsSlot()
    {
        int attempts = 0;
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(_ =>
        {
            if (++attempts == 1)
                throw new FormatException();
        }, new() { Name = "sink", ErrorPolicy = ErrorPolicy.Retry(1, Backoff.Constant(TimeSpan.FromSeconds(5))) }), FakeTimeOptions);
        await run.SendAsync(1);
        await Waiting.UntilAsync(() => run.Stage("sink").Report().Activity == StageActivity.WaitingForRetry, "the item waits for its next attempt");
        run.Complete();
        Assert.Equal((1, false), (run.Stage("sink").Report().SlotsHeld, run.Completion.IsCompleted));
        Time.Advance(TimeSpan.FromSeconds(5));

        await run.Completion.Within();
        Assert.Equal(2, attempts);
    }

    [Fact] // S32, S34
    public async Task OnDiscarded_SeesEveryItem_AndMayThrow()
    {
        ExpectFailure();
        List<DiscardedItem> discarded = [];
        var entered = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(async (_, ct) =>
        {
            entered.Open();
            await new Gate().WaitAsync(ct);
        }, new() { Name = "sink" }), Options with
        {
            OnDiscarded = d =>
            {
                lock (discarded)
                    discarded.Add(d);
                throw new TimeZoneNotFoundException();
            },
        });
        for (int i = 1; i <= 3; i++)
            await run.SendAsync(i);
        await entered.WaitAsync(TestToken);
        run.Cancel();

        PipelineReport report = await run.Report.Within();

        Assert.Equal([1, 2, 3], discarded.Select(static d => (int)d.Item!).Order());
        Assert.All(discarded, static d => Assert.Equal((DiscardReason.Canceled, "sink"), (d.Reason, d.Stage)));
        Assert.Equal((3, 0), (report.Stage("sink").Discarded, report.Stage("sink").SlotsHeld));
        Assert.Equal(3, report.SecondaryErrors.Count(static e => e.InnerException is TimeZoneNotFoundException));
    }

    private static PipelineBuilder<NoInput, int> Numbers(int count) => Pipeline.From(Enumerable.Range(1, count));

    private static int ThrowOnEven(int x) => x % 2 == 0 ? throw new FormatException(x.ToString()) : x;
}
