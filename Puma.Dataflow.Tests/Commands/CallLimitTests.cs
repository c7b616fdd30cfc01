using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

/// <summary>How long a call may take.</summary>
public sealed class CallLimitTests : ChildTest
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(10);

    // What the handler of the runnable that is made without captures does.
    private static Func<ValueTask> s_onItem = null!;

    public static TheoryData<string> Places => Placed.All;

    private PipelineOptions Limited => FakeTimeOptions with { CallTimeout = s_limit, SlowCallWarning = Timeout.InfiniteTimeSpan, StallTimeout = Timeout.InfiniteTimeSpan };

    private static async Task<CommandFailedException> TimesOutAsync(Task call)
    {
        CommandFailedException failure = await Assert.ThrowsAsync<CommandFailedException>(() => call.Within());
        Assert.Equal(CommandFailure.TimedOut, failure.Failure);
        return failure;
    }

    private static async Task EndAsync(PipelineRun<int> run)
    {
        run.Complete();
        await run.Completion.Within();
    }

    private PipelineRun<int> StartCounter(string place) =>
        Start(Pipeline.Accept<int>().Then(static () => new Counter(), Placed.At(place, "counter")).ForEach(static _ => { }), Limited);

    [Theory, MemberData(nameof(Places))] // S42
    public async Task ACallThatTakesTooLong_FailsAtItsTime_AndTheTokenOfItsMemberFires(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");
        Task call = counter.WaitForeverAsync(CancellationToken.None).AsTask();
        Time.Advance(TimeSpan.FromMilliseconds(1));
        Task behind = counter.AddAsync(1).AsTask();

        Time.Advance(s_limit - TimeSpan.FromMilliseconds(2));
        Assert.False(call.IsCompleted || behind.IsCompleted);
        Time.Advance(TimeSpan.FromMilliseconds(1));

        Assert.Contains($"CallTimeout ({s_limit})", (await TimesOutAsync(call)).Message, StringComparison.Ordinal);

        // The first member returns at its time, and the second has a millisecond left: it runs.
        await behind.Within();
        Assert.Equal(1, await counter.SumAsync().Within());
        await EndAsync(run);
    }

    [Theory] // S42
    [InlineData("in process")]
    [InlineData("own thread")]
    public async Task ACallThatTimesOut_SaysWhetherItHadBegun(string place)
    {
        Gate begun = new(), both = new();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Then(() => new Villain
        {
            // Until both have timed out, or the second one could begin in the last moment of its time.
            OnDo = async (_, token) =>
            {
                begun.Open();
                await both.WaitAsync(CancellationToken.None);
                token.ThrowIfCancellationRequested();
            },
        }, Placed.At(place, "villain")).ForEach(static _ => { }), Limited);
        IVillain villain = run.Control<IVillain>("villain");
        Task call = villain.DoAsync("").AsTask();
        await begun.WaitAsync(TestToken);
        Task behind = villain.DoAsync("").AsTask();

        Time.Advance(s_limit);

        Assert.Contains("The member had begun: its token has fired", (await TimesOutAsync(call)).Message, StringComparison.Ordinal);
        Assert.Contains("The member had not begun, and never runs.", (await TimesOutAsync(behind)).Message, StringComparison.Ordinal);
        both.Open();
        await EndAsync(run);
    }

    [Theory] // S42
    [InlineData("loopback")]
    [InlineData("child process")]
    public async Task ACallElsewhereThatTimesOut_SaysThatItIsNotKnown(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");
        await counter.SumAsync().Within();
        Task call = counter.WaitForeverAsync(CancellationToken.None).AsTask();

        Time.Advance(s_limit);

        Assert.Contains("Whether the member had begun is not known here", (await TimesOutAsync(call)).Message, StringComparison.Ordinal);
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task TheStepsOfAStream_AreNotTimed(string place)
    {
        PipelineRun<int> run = StartCounter(place);
        ICounter counter = run.Control<ICounter>("counter");
        await using IAsyncEnumerator<int> sums = counter.WatchAsync(TestToken).GetAsyncEnumerator(TestToken);
        Assert.True(await sums.MoveNextAsync().AsTask().Within());
        Task<bool> step = sums.MoveNextAsync().AsTask();

        Time.Advance(2 * s_limit);
        Assert.False(step.IsCompleted);
        await counter.AddAsync(3).AsTask().Within();

        Assert.True(await step.Within());
        Assert.Equal(3, sums.Current);
        await sums.DisposeAsync().AsTask().Within();
        await EndAsync(run);
    }

    [Theory] // S42
    [InlineData("in process")]
    [InlineData("own thread")]
    [InlineData("loopback")]
    public async Task TheEndOfALease_IsNotTimed(string place)
    {
        Gate begun = new(), handler = new();
        s_onItem = () =>
        {
            begun.Open();
            return new ValueTask(handler.WaitAsync());
        };
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(static () => new Villain { OnItem = static () => s_onItem() }, Placed.At(place, "villain"))
            .ForEach(static _ => { }), Limited);
        ISession session = (await run.Control<IVillain>("villain").LendAsync("throws at its end", TestToken).AsTask().Within())!;
        await run.SendAsync(1, TestToken);
        await begun.WaitAsync(TestToken);
        Task ending = session.DisposeAsync().AsTask();

        Time.Advance(2 * s_limit);
        handler.Open();

        // It came to the object, whose failure is told to who ended the lease.
        CommandFailedException failure = await Assert.ThrowsAsync<CommandFailedException>(() => ending.Within());
        Assert.Equal(CommandFailure.Threw, failure.Failure);
        Assert.True(failure.IsCausedBy<FormatException>());
        await EndAsync(run);
    }

    [Fact] // S42
    public async Task TheWaitForTheStart_CountsForTheLimit_AndNotAsSlow()
    {
        var start = new Gate();
        bool ran = false;
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Then(() => new Villain
        {
            OnStart = () => new(start.WaitAsync()),
            OnDo = (_, _) =>
            {
                ran = true;
                return default;
            },
        }, new() { Name = "villain" }).ForEach(static _ => { }), Limited with { SlowCallWarning = TimeSpan.FromSeconds(1) });
        Task call = run.Control<IVillain>("villain").DoAsync("", TestToken).AsTask();

        Time.Advance(s_limit - TimeSpan.FromMilliseconds(1));
        Assert.False(call.IsCompleted);
        Time.Advance(TimeSpan.FromMilliseconds(1));

        Assert.Contains("had not begun, and never runs", (await TimesOutAsync(call)).Message, StringComparison.Ordinal);
        start.Open();
        await EndAsync(run);
        Assert.False(ran);
    }

    [Fact] // S41
    public async Task ACallToItself_ByWayOfTheRun_EndsWithItsLimit()
    {
        var called = new Gate();
        CommandFailedException? failure = null;
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(static () => new Villain { OnItem = static () => s_onItem() }, Placed.At("loopback", "villain"))
            .ForEach(static _ => { }), Limited);
        IVillain self = run.Control<IVillain>("villain");
        s_onItem = async () =>
        {
            Task call = self.DoAsync("").AsTask();
            called.Open();
            failure = await TimesOutAsync(call);
        };
        await run.SendAsync(1, TestToken);
        await called.WaitAsync(TestToken);

        Time.Advance(s_limit);

        await EndAsync(run);
        Assert.NotNull(failure);
        Assert.Equal(1, (await run.Report).Stage("villain").Delivered);
    }
}
