using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Diagnostics;

/// <summary>Whoever looks while a run goes on never sees a part that is more than its whole.</summary>
public sealed class SnapshotTests : PipelineTest
{
    private const int Items = 50_000, ItemsDiscarded = 21;

    [Theory]
    [InlineData(FullMode.Wait, LinkKind.Burst)]
    [InlineData(FullMode.Wait, LinkKind.BufferBlock)]
    [InlineData(FullMode.DropOldest, LinkKind.Burst)]
    [InlineData(FullMode.DropNewest, LinkKind.Burst)]
    public async Task ASnapshotOfARun_ShowsNoPartAboveItsWhole(FullMode full, LinkKind links)
    {
        Expect(ItemsDiscarded);
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { Name = "in", BoundedCapacity = 3, FullMode = full })
            .Transform(static x => x % 50 == 0 ? throw new FormatException() : x, new() { Name = "skips", BoundedCapacity = 5, ErrorPolicy = ErrorPolicy.Skip })
            .Transform(static x => x, new() { Name = "pool", BoundedCapacity = 4, MaxDegreeOfParallelism = 2 })
            .Through(static () => new TransformBlock<int, int>(static x => x, new() { BoundedCapacity = 2 }), new() { Name = "foreign", BoundedCapacity = 3 })
            .ForEach(static _ => { }, new() { Name = "end", BoundedCapacity = 2 }), Options with { Links = links });
        Task sending = Task.Run(async () =>
        {
            for (int i = 0; i < Items; i++)
                await run.SendAsync(i, TestToken);
            run.Complete();
        });
        _ = sending.ContinueWith(static t => t.Exception, TaskScheduler.Default);

        do
        {
            PipelineSnapshot now = run.Snapshot();
            foreach (StageReport s in now.Stages)
            {
                Assert.True(s.Delivered + s.Skipped + s.DeadLettered + s.Failed + s.Discarded + s.Abandoned <= s.Accepted || !s.KeepsLedger, $"more items have a fate than were accepted: {s}");
                Assert.True(s.Queued <= s.SlotsHeld, $"more items wait than have a slot: {s}");
                Assert.True(s.InFlight + s.Queued <= s.SlotsHeld || !s.KeepsLedger, $"more items are in work than have a slot: {s}");
                Assert.True(s.SlotsHeld <= s.MaxSlotsHeld, $"more slots are held than ever were: {s}");
                Assert.True(s.MaxSlotsHeld <= s.Capacity, $"more slots were held than there are: {s}");
                Assert.True(s.Repeated <= s.Emitted, $"more outputs were repeated than emitted: {s}");
                Assert.True(s is { Delivered: >= 0, Discarded: >= 0, Queued: >= 0, InFlight: >= 0, SlotsHeld: >= 0 }, $"a number is negative: {s}");
            }

            foreach (LinkReport l in now.Links)
            {
                Assert.True(l.Received + l.Discarded <= l.Sent, $"more items came than were sent: {l}");
                Assert.True(l.Dropped <= l.Discarded, $"more items were dropped than discarded: {l}");
                Assert.True(l.Queued <= l.SlotsHeld && l.SlotsHeld <= l.Capacity, $"more items wait than may: {l}");
            }
        }
        while (!run.Completion.IsCompleted);

        await sending.Within();
        await run.Completion.Within();
    }

    [Fact]
    public async Task ASnapshotOfWorkers_ShowsNoPartAboveItsWhole_NorMoreJobsThanThereAre()
    {
        const int Count = 2, Capacity = 4, Submitters = 3;
        await using var workers = Workers.Create(new() { Count = Count, BoundedCapacity = Capacity, LoggerFactory = Log });
        long submitted = 0;
        Task[] submitting = [.. Enumerable.Range(0, Submitters).Select(_ => Task.Run(async () =>
        {
            for (int i = 0; i < 20_000; i++)
            {
                Interlocked.Increment(ref submitted);
                Task<int> job = workers.SubmitAsync(static (x, _) => x % 50 == 0 ? throw new FormatException() : x, i, TestToken);
                await ((Task)job).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }))];
        Task all = Task.WhenAll(submitting);
        _ = all.ContinueWith(static t => t.Exception, TaskScheduler.Default);

        do
        {
            WorkersSnapshot now = workers.Snapshot();
            long most = Interlocked.Read(ref submitted);
            Assert.True(now.Running <= Count, $"more jobs run than there are workers: {now}");
            Assert.True(now.Queued + now.Running <= Capacity, $"more jobs have a place than there are: {now}");
            Assert.True(now.Waiting <= Submitters, $"more jobs wait for a place than there are callers: {now}");
            Assert.True(now.Waiting + now.Queued + now.Running + now.Succeeded + now.Failed + now.Canceled <= most, $"more jobs than the {most} that were submitted: {now}");
            Assert.True(now is { Waiting: >= 0, Queued: >= 0, Running: >= 0 }, $"a number is negative: {now}");
        }
        while (!all.IsCompleted);

        await all.Within();
        WorkersSnapshot end = workers.Snapshot();
        Assert.Equal((0, 0, 0, submitted), (end.Waiting, end.Queued, end.Running, end.Succeeded + end.Failed));
    }
}
