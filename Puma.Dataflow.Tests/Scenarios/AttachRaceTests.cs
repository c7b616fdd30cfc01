using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Branches that are attached and detached at the very moment at which something else ends the run, a stage or the branch. Each seed is another interleaving.</summary>
public sealed class AttachRaceTests : LifecycleTest
{
    private const int Seeds = 150;

    public enum Event
    {
        Complete,
        Cancel,
        Fault,
        StageFaults,
        FinishFan,
        Dispose,
    }

    [Theory] // S1, S6, S16, S22, S23
    [InlineData(Event.Complete)]
    [InlineData(Event.Cancel)]
    [InlineData(Event.Fault)]
    [InlineData(Event.StageFaults)]
    [InlineData(Event.FinishFan)]
    [InlineData(Event.Dispose)]
    public async Task AttachThatRacesWithAnEnd_JoinsOrIsRefused_AndEverythingEnds(Event end)
    {
        ExpectFailure();
        int joined = 0, refused = 0;
        for (int seed = 0; seed < Seeds; seed++)
        {
            bool doFail = false;
            var random = new Random(seed);
            List<int> main = [];
            PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(
                new() { Name = "fan", NoBranches = NoBranches.Wait },
                b => b.ForEach(
                    x =>
                    {
                        if (Volatile.Read(ref doFail))
                            throw new FormatException("main");
                        main.Add(x);
                    },
                    new() { Name = "main", BoundedCapacity = 1 + random.Next(4) })));
            Task sending = Task.Run(() => SendUntilClosedAsync(run));
            List<int> late = [];
            int before = random.Next(40), between = random.Next(40);
            bool hasSource = random.Next(3) == 0;
            Task<BranchLease> attaching = Task.Run(async () =>
            {
                await YieldAsync(before);
                return await run.Broadcast<int>("fan").AttachAsync(b => (hasSource ? b.Merge(Pipeline.From(Enumerable.Range(-3, 3))) : b).Transform(static x => x, new() { Name = "first", BoundedCapacity = 1 + (before % 3) }).ForEach(late.Add, new() { Name = "late" }));
            });
            await YieldAsync(between);
            switch (end)
            {
                case Event.Complete:
                    run.Complete();
                    break;
                case Event.Cancel:
                    run.Cancel();
                    break;
                case Event.Fault:
                    run.Fault(new FormatException("outside"));
                    break;
                case Event.StageFaults:
                    Volatile.Write(ref doFail, true);
                    break;
                case Event.FinishFan:
                    await run.Stage("fan").FinishAsync().Within();
                    break;
                default:
                    await run.DisposeAsync().AsTask().Within();
                    break;
            }

            PipelineReport report = await run.Report.Within();
            await sending.Within();
            try
            {
                BranchLease lease = await attaching.Within();
                joined++;
                await lease.DetachAsync().Within();
                Assert.True(lease.Completion.IsCompleted);
                if (!hasSource)
                    Assert.Equal(Enumerable.Range(late.FirstOrDefault(), late.Count), late);
                Assert.NotEqual(EndReason.None, report.Stage("late").EndReason);
            }
            catch (BroadcastClosedException)
            {
                refused++;
                Assert.DoesNotContain(report.Stages, static s => s.Name is "late" or "first");
                Assert.Empty(late);
            }

            Assert.Equal(
                end switch
                {
                    Event.Complete or Event.FinishFan => RunState.Completed,
                    Event.Cancel or Event.Dispose => RunState.Canceled,
                    _ => RunState.Faulted,
                },
                report.State);
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{joined} joined, {refused} were refused");
    }

    [Fact] // S19: the failure of the branch itself, before, at and after its join
    public async Task AttachThatRacesWithItsOwnFailure_IsRefusedOrFaultsTheRun()
    {
        ExpectFailure();
        for (int seed = 0; seed < Seeds; seed++)
        {
            var random = new Random(seed);
            int delay = random.Next(30);
            PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new() { Name = "fan" }, b => b.ForEach(static _ => { }, new() { Name = "main" })));
            Task sending = Task.Run(() => SendUntilClosedAsync(run));
            StageFaultedException? refused = null;
            try
            {
                BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.Then(() => new FailsSoon(delay), new() { Name = "late", TickInterval = TimeSpan.FromTicks(1) }).ForEach(static _ => { })).Within();
                await Assert.ThrowsAsync<StageFaultedException>(() => lease.Completion.Within());
            }
            catch (StageFaultedException failure)
            {
                refused = failure;
                run.Complete();
            }

            PipelineReport report = await run.Report.Within();
            await sending.Within();
            Assert.Equal(refused is null ? RunState.Faulted : RunState.Completed, report.State);
            Assert.Equal("late", (refused ?? report.Cause)!.Stage);
        }
    }

    [Fact] // many at once: names, joins and leaves
    public async Task ManyAttachAtOnce_EachGetsItsOwnNames()
    {
        PipelineRun run = Start(Pipeline.From(FaultTests.Naturals()).Broadcast(new StageOptions { Name = "fan", NoBranches = NoBranches.Discard }));
        await Task.WhenAll(Enumerable.Range(0, 16).Select(worker => Task.Run(async () =>
        {
            for (int round = 0; round < 20; round++)
            {
                List<int> seen = [];
                BranchLease lease = await run.Broadcast<int>("fan").AttachAsync(b => b.ForEach(seen.Add)).Within();
                await YieldAsync(worker);
                await lease.DetachAsync().Within();
                Assert.Equal(Enumerable.Range(seen.FirstOrDefault(), seen.Count), seen);
            }
        }))).Within();
        Expect(21);
        run.Complete();

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(report.Stages.Count, report.Stages.Select(static s => s.Name).Distinct().Count());
        Assert.InRange(report.Stages.Count, 3, 18);
    }

    private static async Task SendUntilClosedAsync(PipelineRun<int> run)
    {
        try
        {
            for (int i = 1; ; i++)
                await run.SendAsync(i, TestToken);
        }
        catch (PipelineClosedException)
        {
            // The run takes no more.
        }
    }

    private static async Task YieldAsync(int times)
    {
        for (int i = 0; i < times; i++)
            await Task.Yield();
    }

    private sealed class FailsSoon(int delay) : Runnable<int, int>
    {
        private int _ticks;

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => ++_ticks > delay ? throw new FormatException("tick") : default;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => ++_ticks > delay ? throw new FormatException("item") : EmitAsync(item, cancellationToken);
    }
}
