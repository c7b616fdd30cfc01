using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Several sources and several senders.</summary>
public sealed class SenderTests : LifecycleTest
{
    [Fact] // S10, Puma 86, Puma 97
    public async Task TwoSourcesOneSlow_TheMergeEndsWithTheSlowOne()
    {
        var gate = new Gate();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 100), new() { Name = "fast" })
            .Merge(Pipeline.From(SlowAsync(), new() { Name = "slow" }))
            .ForEach(seen.Add, new() { Name = "sink" }));
        await run.Stage("fast").Completion.Within();
        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink").Delivered == 101, "all but the last item has arrived");
        Assert.False(run.Completion.IsCompleted);
        gate.Open();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 100), seen.Where(static x => x > 0));
        Assert.Equal([-1, -2], seen.Where(static x => x < 0));
        AssertCounts(report, "sink", accepted: 102, delivered: 102);

        async IAsyncEnumerable<int> SlowAsync()
        {
            yield return -1;
            await gate.WaitAsync();
            yield return -2;
        }
    }

    [Fact] // S10: a join waits for the slow side, and discards what has no partner
    public async Task TwoSourcesOneSlow_TheJoinPairsInOrder()
    {
        ExpectFailure();
        var gate = new Gate();
        List<(int, int)> seen = [];
        PipelineRun run = Start(Pipeline.Join(Pipeline.From(Enumerable.Range(1, 100), new() { Name = "fast" }), Pipeline.From(SlowAsync(), new() { Name = "slow" }), new() { Name = "join" })
            .ForEach(seen.Add, new() { Name = "sink" }));
        await Waiting.UntilAsync(() => run.Snapshot().Stage("sink").Delivered == 1, "the first pair has arrived");
        Assert.False(run.Completion.IsCompleted);
        gate.Open();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal([(1, -1), (2, -2)], seen);
        AssertCounts(report, "join", accepted: 102, delivered: 4, discarded: 98);

        async IAsyncEnumerable<int> SlowAsync()
        {
            yield return -1;
            await gate.WaitAsync();
            yield return -2;
        }
    }

    [Theory] // S11, Puma 46
    [InlineData(false)]
    [InlineData(true)]
    public async Task TenSendersIntoOneEntry_EveryNumberArrivesTenTimes_EachSendersInOrder(bool byLease)
    {
        List<(int Sender, int Number)> seen = [];
        PipelineRun<(int Sender, int Number)> run = Start(Pipeline.Accept<(int Sender, int Number)>(new() { Name = "entry", BoundedCapacity = 3, CompleteWithLastSender = byLease })
            .ForEach(seen.Add, new() { Name = "sink" }));
        PipelineSender<(int Sender, int Number)>[] leases = byLease ? [.. Enumerable.Range(0, 10).Select(_ => run.OpenSender())] : [];

        await Task.WhenAll(Enumerable.Range(0, 10).Select(sender => Task.Run(
            async () =>
            {
                for (int i = 0; i < 30; i++)
                    await (byLease ? leases[sender].SendAsync((sender, i), TestToken) : run.SendAsync((sender, i), TestToken));
                if (byLease)
                    leases[sender].Dispose();
            },
            TestToken))).Within();
        if (!byLease)
        {
            Assert.False(run.Completion.IsCompleted);
            run.Complete();
        }

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(300, seen.Count);
        for (int sender = 0; sender < 10; sender++)
            Assert.Equal(Enumerable.Range(0, 30), seen.Where(s => s.Sender == sender).Select(static s => s.Number));
        AssertCounts(report, "sink", accepted: 300, delivered: 300);
    }

    [Theory] // S11, Puma 22, 23
    [InlineData(false)]
    [InlineData(true)]
    public async Task SendersInTurn_KeepTheOrderInWhichTheySend(bool areOpenAtOnce)
    {
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { Name = "entry" }).ForEach(seen.Add, new() { Name = "sink" }));
        PipelineSender<int>[] open = areOpenAtOnce ? [.. Enumerable.Range(0, 10).Select(_ => run.OpenSender())] : [];
        for (int i = 0; i < 30; i++)
        {
            PipelineSender<int> sender = areOpenAtOnce ? open[i % 10] : run.OpenSender();
            await sender.SendAsync(i, TestToken);
            if (!areOpenAtOnce)
                sender.Dispose();
        }

        run.Complete();
        await run.Completion.Within();
        Assert.Equal(Enumerable.Range(0, 30), seen);
    }

    [Fact] // S11, Puma 17, 24
    public async Task ALeaseDisposedTwice_CountsOnce()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { Name = "entry", CompleteWithLastSender = true }).ForEach(static _ => { }, new() { Name = "sink" }));
        PipelineSender<int> first = run.OpenSender(), second = run.OpenSender();
        first.Dispose();
        first.Dispose();
        await second.SendAsync(1, TestToken);
        second.Dispose();

        AssertCounts(await run.Completion.Within(), "sink", accepted: 1, delivered: 1);
    }

    [Fact] // S21, S50, Puma 18, 25
    public async Task ADisposedRun_ReleasesItsSenders_AndSaysWhatItDiscarded()
    {
        ExpectFailure();
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { Name = "entry" })
            .ForEach(static async (_, ct) => await Task.Delay(Timeout.Infinite, ct), new() { Name = "sink", BoundedCapacity = 2 }));
        PipelineSender<int> sender = run.OpenSender();
        await sender.SendAsync(1, TestToken);
        await sender.SendAsync(2, TestToken);
        Task waiting = sender.SendAsync(3, TestToken).AsTask();

        await run.DisposeAsync().AsTask().Within();

        await Assert.ThrowsAsync<PipelineClosedException>(() => waiting.Within());
        await Assert.ThrowsAsync<PipelineClosedException>(() => sender.SendAsync(4, TestToken).AsTask().Within());
        sender.Dispose();
        AssertCounts(await run.Report, "sink", accepted: 2, discarded: 2);
        Assert.Contains(Log.Records, static r => r.EventId.Id == 21);
    }

    [Fact] // S16: their waiting sends are released
    public async Task SendersThatWait_AreReleasedByAFault_AndNothingOfTheirsIsCounted()
    {
        ExpectFailure();
        var fail = new Gate();
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { Name = "entry" })
            .ForEach(
                async _ =>
                {
                    await fail.WaitAsync();
                    throw new FormatException();
                },
                new() { Name = "sink", BoundedCapacity = 2 }));
        await run.SendAsync(1, TestToken);
        await run.SendAsync(2, TestToken);
        Task[] waiting = [.. Enumerable.Range(3, 10).Select(i => run.SendAsync(i, TestToken).AsTask())];
        Assert.All(waiting, static t => Assert.False(t.IsCompleted));
        Assert.False(run.TrySend(99));
        fail.Open();

        foreach (Task send in waiting)
            Assert.Equal("entry", (await Assert.ThrowsAsync<PipelineClosedException>(() => send.Within())).Stage);
        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
        AssertCounts(await run.Report, "sink", accepted: 2, failed: 1, discarded: 1);
    }

    [Fact] // S26: it harms nothing else
    public async Task SendTimeout_ThrowsAtTheSender_AndTheRunGoesOn()
    {
        var flow = new Gate();
        PipelineRun<int> run = Start(
            Pipeline.Accept<int>(new() { Name = "entry", SendTimeout = TimeSpan.FromSeconds(3) })
                .ForEach(async _ => await flow.WaitAsync(), new() { Name = "sink", BoundedCapacity = 1 }),
            FakeTimeOptions);
        await run.SendAsync(1, TestToken);
        Task late = run.SendAsync(2, TestToken).AsTask();
        Time.Advance(TimeSpan.FromSeconds(2.9));
        Assert.False(late.IsCompleted);
        Time.Advance(TimeSpan.FromSeconds(0.1));

        await Assert.ThrowsAsync<TimeoutException>(() => late.Within());
        flow.Open();
        await run.SendAsync(3, TestToken).AsTask().Within();
        run.Complete();
        AssertCounts(await run.Completion.Within(), "sink", accepted: 2, delivered: 2);
    }

    [Fact] // S9: an entry that is closed while its stage is about to wait still ends
    public async Task CompleteRightAfterStart_AlwaysEnds()
    {
        for (int round = 0; round < 500; round++)
        {
            PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static _ => { }, new() { Name = "sink" }));
            if (round % 2 == 0)
                await run.Started.Within();
            run.Complete();
            AssertCounts(await run.Completion.Within(), "sink", accepted: 0);
        }
    }

    [Fact] // S7: also when the sender does not look
    public async Task SendsThatNobodyAwaits_LeaveNoUnobservedException()
    {
        ExpectFailure();
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { Name = "entry", FullMode = FullMode.Fail, BoundedCapacity = 1 })
            .ForEach(async (_, ct) => await new Gate().WaitAsync(ct), new() { Name = "sink" }));
        await run.SendAsync(1, TestToken);
        Forget();
        run.Cancel();
        await run.Report.Within();
        Forget();

        // The base class collects garbage and looks.
        [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
        void Forget() => _ = run.SendAsync(2, TestToken).AsTask();
    }

    [Fact] // S7
    public async Task ARunThatNobodyAwaits_LeavesNoUnobservedException_AndLogsItsCauseOnce()
    {
        ExpectFailure();
        var ended = new Gate();
        StartAndForget();
        await ended.WaitAsync();
        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 5), "the run has ended");

        Assert.Single(Log.Records, static r => r.EventId.Id == 4);

        [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
        void StartAndForget() => Pipeline.From([1]).ForEach(_ =>
        {
            ended.Open();
            throw new FormatException();
        }).Build(Options).Start();
    }
}
