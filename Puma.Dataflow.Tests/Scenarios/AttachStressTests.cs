using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Random branches come and go while items flow; what they saw is compared with what they should have.</summary>
public sealed class AttachStressTests : LifecycleTest
{
    private const int Steps = 60;

    private volatile bool _stop;

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 20)];

    [Theory] // S30, S47: without a drop and without a discard, every item is somebody's
    [MemberData(nameof(Seeds))]
    public async Task BranchesThatComeAndGo_LoseNothing_WhenItemsWaitForThem(int seed)
    {
        var random = new Random(seed);
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new StageOptions { Name = "fan", BoundedCapacity = 1 + random.Next(8) }));
        Task<int> sending = Task.Run(() => SendAsync(run));
        List<Branch> all = [], live = [];
        for (int step = 0; step < Steps; step++)
        {
            if (live.Count < 4 && random.Next(2) == 0)
            {
                var branch = new Branch(FullMode.Wait, random, live);
                await branch.AttachAsync(run);
                all.Add(branch);
                live.Add(branch);
            }
            else if (live.Count > 0)
            {
                int index = random.Next(live.Count);
                await live[index].Lease.DetachAsync().Within();
                live.RemoveAt(index);
            }
        }

        // The last one takes what is left.
        var last = new Branch(FullMode.Wait, random, live);
        await last.AttachAsync(run);
        all.Add(last);
        _stop = true;
        int sent = await sending.Within();
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        var union = new HashSet<int>();
        foreach (Branch branch in all)
        {
            Assert.Equal(Enumerable.Range(branch.Seen.FirstOrDefault(), branch.Seen.Count), branch.Seen);
            union.UnionWith(branch.Seen);
        }

        Assert.Equal(Enumerable.Range(1, sent), union.Order());
        AssertCounts(report, "fan", accepted: sent, delivered: sent);
        Assert.Equal(all.Sum(static b => b.Seen.Count), report.Stage("fan").Emitted);
        Assert.Equal(report.Stage("fan").Emitted, report.Links.Where(static l => l.From == "fan").Sum(static l => l.Sent));
    }

    [Theory] // S19, S30, S47
    [MemberData(nameof(Seeds))]
    public async Task BranchesOfAllKinds_ComeAndGo_AndTheBooksBalance(int seed)
    {
        ExpectFailure();
        Expect(13);
        var random = new Random(seed);
        List<int> main = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Broadcast(new() { Name = "fan" }, b => b.ForEach(main.Add, new() { Name = "main" })));
        Task<int> sending = Task.Run(() => SendAsync(run));
        List<Branch> all = [], live = [];
        for (int step = 0; step < Steps; step++)
        {
            if (live.Count < 4 && random.Next(2) == 0)
            {
                var branch = new Branch((FullMode)random.Next(3), random, live) { FailsAt = random.Next(4) == 0 ? 1 + random.Next(5) : 0 };
                await branch.AttachAsync(run);
                all.Add(branch);
                live.Add(branch);
            }
            else if (live.Count > 0)
            {
                int index = random.Next(live.Count);
                await (random.Next(3) == 0 ? live[index].Lease.DisposeAsync().AsTask() : live[index].Lease.DetachAsync()).Within();
                Assert.True(live[index].Lease.Completion.IsCompleted);
                live.RemoveAt(index);
            }
        }

        _stop = true;
        int sent = await sending.Within();
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, sent), main);
        AssertCounts(report, "fan", accepted: sent, delivered: sent);
        foreach (Branch branch in all)
            Assert.Equal(branch.Seen.Order().Distinct(), branch.Seen);
        Assert.Equal(report.Stage("fan").Emitted, report.Links.Where(static l => l.From == "fan").Sum(static l => l.Sent));

        // A branch that fails while it is given up was cancelled all the same.
        Assert.InRange(report.SecondaryErrors.Count, all.Count(static b => b.Lease.Completion.IsFaulted), all.Count(static b => b.FailsAt > 0));
        Assert.Equal(report.Stages.Count, report.Stages.Select(static s => s.Name).Distinct().Count());
    }

    private async Task<int> SendAsync(PipelineRun<int> run)
    {
        int sent = 0;
        try
        {
            while (!_stop)
            {
                await run.SendAsync(sent + 1, TestToken);
                if (++sent % 16 == 0)
                    await Task.Yield();
            }
        }
        catch (PipelineClosedException)
        {
            // The test has failed and the run is being disposed.
        }

        return sent;
    }

    private sealed class Branch(FullMode mode, Random random, List<Branch> live)
    {
        private readonly int _capacity = 1 + random.Next(6);
        private readonly string? _name = random.Next(2) == 0 ? Enumerable.Range(1, 5).Select(static i => $"named-{i}").First(n => live.TrueForAll(b => b._name != n)) : null;
        private int _count;

        public List<int> Seen { get; } = [];

        /// <summary>At which item its handler throws; 0 for none.</summary>
        public int FailsAt { get; init; }

        public BranchLease Lease { get; private set; } = null!;

        public async Task AttachAsync(PipelineRun run) =>
            Lease = await run.Broadcast<int>("fan").AttachAsync(b => (FailsAt > 0 ? b.Optional() : b).WhenFull(mode, _capacity)
                .Transform(static x => x, new() { Name = _name, BoundedCapacity = _capacity })
                .ForEach(
                    x =>
                    {
                        if (++_count == FailsAt)
                            throw new FormatException();
                        Seen.Add(x);
                    },
                    new() { BoundedCapacity = _capacity })).Within();
    }
}
