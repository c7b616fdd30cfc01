using System.Diagnostics;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What ends, fails or is lost in one child of a stage while others hold items.</summary>
public sealed class ChildPoolTests : ChildTest
{
    private static readonly ChildProcessPlacement Restarting = Placement.ChildProcess with { OnLoss = LossPolicy.Restart(backoff: Backoff.None).Replay(), StateLoss = StateLoss.Accepted };

    // Loopback children share these.
    private static Gate s_gate = new();
    private static int s_begun;

    private readonly string _folder = Directory.CreateTempSubdirectory("pool-test-").FullName;

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory] // S13
    [InlineData(true)]
    [InlineData(false)]
    public async Task Finish_WhileItemsWaitInEveryChild_Ends(bool isOrdered)
    {
        (s_gate, s_begun) = (new Gate(), 0);
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Transform(static (x, ct) => HoldAsync(x, ct), new() { Name = "pool", Placement = Placement.Loopback, MaxDegreeOfParallelism = 2, EnsureOrdered = isOrdered, BoundedCapacity = 8 })
            .ForEach(seen.Add));
        for (int i = 1; i <= 6; i++)
            await run.SendAsync(i, TestToken);
        await Waiting.UntilAsync(() => Volatile.Read(ref s_begun) == 2, "both children have begun an item");

        Task finishing = run.Stage("pool").FinishAsync();
        s_gate.Open();
        await finishing.Within();
        PipelineReport report = await run.Completion.Within();

        // A child may begin one more item before it hears of the end.
        Assert.InRange(seen.Count, 2, 4);
        Assert.All(seen, static x => Assert.InRange(x, 1, 4));
        if (isOrdered)
            Assert.Equal(Enumerable.Range(1, seen.Count), seen);
        StageReport pool = report.Stage("pool");
        Assert.Equal((EndReason.Finished, seen.Count, 6 - seen.Count), (pool.EndReason, pool.Delivered, pool.Discarded));
    }

    private static async Task<int> HoldAsync(int item, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref s_begun);
        await s_gate.WaitAsync(cancellationToken);
        return item;
    }

    [Theory] // S23, S13, S27: a restart that is not due yet keeps nobody waiting
    [InlineData(true)]
    [InlineData(false)]
    public async Task End_WhileARestartIsPending_DoesNotWaitForIt(bool isCancel)
    {
        ExpectFailure();
        Expect(40);
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 200))
            .Then(static o => new Chaos(o), new ChaosOptions(ChaosKind.KillSelf, 7), new()
            {
                Name = "chaos",
                Placement = Restarting with { OnLoss = LossPolicy.Restart(backoff: Backoff.Constant(TimeSpan.FromDays(1))).Replay() },
            })
            .ForEach(static _ => { }));
        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 41), "a restart is planned");

        if (isCancel)
        {
            run.Cancel();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        }
        else
        {
            await run.Stage("chaos").FinishAsync().Within();
            await run.Completion.Within();
        }
    }

    [Fact] // S18, S36: items below a failure are handled, also when their child must first be restarted
    public async Task Failure_WhileALowerItemIsWithAChildThatDies_WaitsForIt()
    {
        ExpectFailure();
        Expect(40);
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Then(static o => new OneDiesOneFails(o), _folder, new() { Name = "pool", Placement = Restarting, MaxDegreeOfParallelism = 3 })
            .ForEach(seen.Add));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("pool", 2), (fault.Stage, fault.ItemNumber));
        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Equal([1], seen);
        Assert.Equal(1, (await run.Report).Stage("pool").Restarts);
    }

    [Fact] // S37: the order may keep its outputs waiting, but not the news of its end
    public async Task Loss_OfAChildBehindTheOldestItem_IsKnownAtOnce()
    {
        Expect(40);
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(static o => new OneWaits(o), _folder, new() { Name = "pool", Placement = Restarting, MaxDegreeOfParallelism = 2 })
            .ForEach(seen.Add));
        await run.SendAsync(1, TestToken);
        await run.SendAsync(2, TestToken);
        int other = 0;
        await Waiting.UntilAsync(() => File.Exists(Path.Combine(_folder, "2")) && int.TryParse(File.ReadAllText(Path.Combine(_folder, "2")), out other), "the second item was handled");
        Assert.Empty(seen);

        using (var child = Process.GetProcessById(other))
            child.Kill();

        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 40), "the loss is in the log");
        await Waiting.UntilAsync(() => run.Snapshot().Stage("pool").Restarts == 1, "another child takes its place");
        Assert.Empty(seen);
        File.WriteAllText(Path.Combine(_folder, "go"), "");
        await Waiting.UntilAsync(() => seen.Count == 2, "both outputs have arrived");
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal([1, 2], seen);
        Assert.Equal((2, 1), (report.Stage("pool").Delivered, report.Stage("pool").Restarts));
    }

    [Fact] // S34, S47: who reads slowly is shared fairly
    public async Task Unordered_EveryChildGetsItsShareOfAFullLink()
    {
        HashSet<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Endless())
            .Then(static () => new SaysWho(), new() { Name = "pool", Placement = Placement.Loopback, MaxDegreeOfParallelism = 4, EnsureOrdered = false, BoundedCapacity = 8 })
            .ForEach(instance => seen.Add(instance), new() { BoundedCapacity = 1 }));

        await Waiting.UntilAsync(() => seen.Count == 4, "an output of each has arrived");

        run.Complete();
        await run.Completion.Within();
    }

    private static IEnumerable<int> Endless()
    {
        for (int i = 0; ; i++)
            yield return i;
    }

    private sealed class SaysWho : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(Context.Instance, cancellationToken);
    }

    /// <summary>The first item kills its process once, when the failure of the second has reached the third.</summary>
    private sealed class OneDiesOneFails(string folder) : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            switch (item)
            {
                case 1 when !File.Exists(Path.Combine(folder, "died")):
                    await UntilThereAsync("cancelled", cancellationToken);
                    File.WriteAllText(Path.Combine(folder, "died"), "");
                    Process.GetCurrentProcess().Kill();
                    break;
                case 2:
                    await UntilThereAsync("begun", cancellationToken);
                    throw new FormatException("the second");
                case 3:
                    File.WriteAllText(Path.Combine(folder, "begun"), "");
                    await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                    File.WriteAllText(Path.Combine(folder, "cancelled"), "");
                    cancellationToken.ThrowIfCancellationRequested();
                    break;
            }

            await EmitAsync(item, cancellationToken);
        }

        private async Task UntilThereAsync(string file, CancellationToken cancellationToken)
        {
            while (!File.Exists(Path.Combine(folder, file)))
                await Task.Delay(5, cancellationToken);
        }
    }

    /// <summary>The first item waits until it may go; the second tells where it was handled.</summary>
    private sealed class OneWaits(string folder) : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            while (item == 1 && !File.Exists(Path.Combine(folder, "go")))
                await Task.Delay(5, cancellationToken);
            await EmitAsync(item, cancellationToken);
            if (item == 2)
                await File.WriteAllTextAsync(Path.Combine(folder, "2"), $"{Environment.ProcessId}", cancellationToken);
        }
    }
}
