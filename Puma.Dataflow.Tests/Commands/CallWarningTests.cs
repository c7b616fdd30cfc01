using Microsoft.Extensions.Logging;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

/// <summary>Warnings of calls that take long, or are many.</summary>
public sealed class CallWarningTests : ChildTest
{
    private const int Slow = 50, Chatty = 51;

    public static TheoryData<Placement> Places => [Placement.InProcess, Placement.Loopback, Placement.ChildProcess];

    [Theory, MemberData(nameof(Places))] // S42, Puma 140, 142
    public async Task ASlowCall_IsWarnedOfOnceForItsMember(Placement placement)
    {
        Expect(Slow);
        PipelineRun<int> run = StartCounter(placement, FakeTimeOptions with { StallTimeout = Timeout.InfiniteTimeSpan });
        ICounter counter = run.Control<ICounter>("counter");
        await counter.SumAsync().Within();
        for (int round = 0; round < 2; round++)
        {
            using var source = new CancellationTokenSource();
            Task waiting = counter.WaitForeverAsync(source.Token).AsTask();
            Time.Advance(TimeSpan.FromSeconds(0.9));
            Assert.Equal(round, Warnings(Slow).Count);
            Time.Advance(TimeSpan.FromSeconds(0.2));
            await source.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.Within());
            Assert.Contains("ICounter.WaitForeverAsync of stage 'counter'", Assert.Single(Warnings(Slow)).Message, StringComparison.Ordinal);
        }

        await EndAsync(run);
    }

    [Fact] // S42
    public async Task ASlowCall_IsWarnedOfAtItsTime_AndOneThatEndsBeforeNever()
    {
        Expect(Slow);
        Gate first = new(), second = new(), hasBegun = new();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Then(() => new Villain
            {
                OnDo = (what, _) =>
                {
                    if (what == "second")
                        hasBegun.Open();
                    return new((what == "first" ? first : second).WaitAsync(TestToken));
                },
            }, new() { Name = "villain" }).ForEach(static _ => { }),
            FakeTimeOptions with { SlowCallWarning = TimeSpan.FromSeconds(5), StallTimeout = Timeout.InfiniteTimeSpan });
        IVillain villain = run.Control<IVillain>("villain");
        await run.Started.Within();
        Task call = villain.DoAsync("first", TestToken).AsTask();
        Time.Advance(TimeSpan.FromSeconds(5) - TimeSpan.FromMilliseconds(1));
        first.Open();
        await call.Within();
        Time.Advance(TimeSpan.FromHours(1));
        Assert.Empty(Warnings(Slow));

        call = villain.DoAsync("second", TestToken).AsTask();
        await hasBegun.WaitAsync(TestToken);
        Time.Advance(TimeSpan.FromSeconds(5) - TimeSpan.FromMilliseconds(1));
        Assert.Empty(Warnings(Slow));
        Time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Contains("IVillain.DoAsync of stage 'villain' has taken longer than 00:00:05 (it runs)", Assert.Single(Warnings(Slow)).Message, StringComparison.Ordinal);
        second.Open();
        await call.Within();
        await EndAsync(run);
    }

    [Fact] // S42
    public async Task ASlowCallBehindAHandler_IsSaidToWait()
    {
        Expect(Slow);
        Gate item = new(), inItem = new();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>().Then(() => new Villain
            {
                OnItem = () =>
                {
                    inItem.Open();
                    return new(item.WaitAsync(TestToken));
                },
            }, new() { Name = "villain" }).ForEach(static _ => { }),
            FakeTimeOptions with { StallTimeout = Timeout.InfiniteTimeSpan });
        await run.SendAsync(1, TestToken);
        await inItem.WaitAsync(TestToken);
        Task call = run.Control<IVillain>("villain").DoAsync("", TestToken).AsTask();

        Time.Advance(TimeSpan.FromSeconds(1));

        Assert.Contains("(it waits for its turn)", Assert.Single(Warnings(Slow)).Message, StringComparison.Ordinal);
        item.Open();
        await call.Within();
        await EndAsync(run);
    }

    [Fact] // S42
    public async Task ChattyCalls_AreCountedForEachMember_AndWarnedOfBeyondTheLimit()
    {
        Expect(Chatty);
        PipelineRun<int> run = StartCounter(Placement.InProcess, FakeTimeOptions with { ChattyCallWarning = 3 });
        ICounter counter = run.Control<ICounter>("counter");
        for (int i = 0; i < 3; i++)
        {
            await counter.SumAsync().Within();
            await counter.AddAsync(1).AsTask().Within();
        }

        Time.Advance(TimeSpan.FromSeconds(1) - TimeSpan.FromMilliseconds(1));
        Assert.Empty(Warnings(Chatty));
        await counter.AddAsync(1).AsTask().Within();

        Assert.Contains("ICounter.AddAsync", Assert.Single(Warnings(Chatty)).Message, StringComparison.Ordinal);
        Time.Advance(TimeSpan.FromMilliseconds(1));
        await counter.SumAsync().Within();
        Assert.Single(Warnings(Chatty));
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42, Puma 143, 144
    public async Task ChattyCalls_AreWarnedOfOnceForTheirMember(Placement placement)
    {
        Expect(Chatty);
        PipelineRun<int> run = StartCounter(placement, FakeTimeOptions with { ChattyCallWarning = 3 });
        ICounter counter = run.Control<ICounter>("counter");

        // Three in each second are not many.
        for (int second = 0; second < 3; second++)
        {
            for (int i = 0; i < 3; i++)
                await counter.SumAsync().Within();
            Time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Empty(Warnings(Chatty));
        for (int i = 0; i < 5; i++)
            await counter.SumAsync().Within();

        Assert.Contains("ICounter.SumAsync of stage 'counter' gets more than 3 calls per second", Assert.Single(Warnings(Chatty)).Message, StringComparison.Ordinal);
        await EndAsync(run);
    }

    private List<LogRecord> Warnings(int id) => [.. Log.Records.Where(r => r.EventId.Id == id && r.Level == LogLevel.Warning)];

    private PipelineRun<int> StartCounter(Placement placement, PipelineOptions options) =>
        Start(Pipeline.Accept<int>().Then(static () => new Counter(), new() { Name = "counter", Placement = placement }).ForEach(static _ => { }), options);

    private static async Task EndAsync(PipelineRun<int> run)
    {
        run.Complete();
        await run.Completion.Within();
    }
}
