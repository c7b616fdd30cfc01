using Puma.Dataflow.Tests.Commands;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Code elsewhere is ahead of the link behind it by as many outputs as that link holds, and each slot that gets free there lets it go on.</summary>
public sealed class OutputWindowTests : ChildTest
{
    /// <summary>More than any link here holds.</summary>
    private const int StageCapacity = 128;

    // What code in loopback has made, and what holds its first item.
    private static int s_made;
    private static Gate s_first = new();

    // Each step lets the sink have done with one item.
    private readonly SemaphoreSlim _steps = new(0);

    public static TheoryData<string> Elsewhere => ["loopback", "child process"];

    /// <summary>How long calls wait here is up to the test.</summary>
    private PipelineOptions Unhurried => Options with { SlowCallWarning = Timeout.InfiniteTimeSpan };

    [Theory] // S34, S41
    [InlineData("loopback", 1)]
    [InlineData("loopback", 2)]
    [InlineData("loopback", 16)]
    [InlineData("child process", 1)]
    [InlineData("child process", 2)]
    public async Task ASource_IsAheadByTheLinkBehindIt_AndGoesOnWithEachSlot(string place, int slots)
    {
        PipelineRun run = Start(Pipeline.From(static () => new FloodedSource(), Placed.At(place, "work") with { BoundedCapacity = StageCapacity })
            .ForEach(StepAsync, new() { Name = "sink", BoundedCapacity = slots }), Unhurried);
        IFlooded work = run.Control<IFlooded>("work");
        await OpenAsync(work);

        // In the link, on the way, and the one that waits.
        int begun = slots + slots + 1;
        for (int step = 0; step < 5; step++)
        {
            Assert.Equal(begun + step, (await FloodedCommandTests.AskUntilAsync(work, begun + step)).Begun);
            _steps.Release();
        }

        await EndAsync(run);
    }

    [Fact] // its handler may wait for what comes of it, as in this process
    public async Task AnOutput_OfAHandlerThatThenBlocks_Arrives()
    {
        s_first = new Gate();
        var seen = new List<int>();
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 3))
            .Then(static () => new EmitsThenBlocks(), Placed.At("loopback", "work"))
            .ForEach(x =>
            {
                seen.Add(x);
                if (x == 2)
                    s_first.Open();
            }));

        await run.Completion.Within();

        Assert.Equal([1, 2, 3], seen);
    }

    /// <summary>Holds its thread, at its second item, until what it has emitted for that has arrived.</summary>
    private sealed class EmitsThenBlocks : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await EmitAsync(item, cancellationToken);
            if (item == 2)
                s_first.Block();
        }
    }

    [Theory, MemberData(nameof(Elsewhere))] // S34, S41
    public async Task ASourceBeforeALargeLink_GoesOnInGroupsOfASixteenth(string place)
    {
        const int Slots = 64, Group = Slots / 16, Steps = 2 * Group;
        PipelineRun run = Start(Pipeline.From(static () => new FloodedSource(), Placed.At(place, "work") with { BoundedCapacity = StageCapacity })
            .ForEach(StepAsync, new() { Name = "sink", BoundedCapacity = Slots }), Unhurried);
        IFlooded work = run.Control<IFlooded>("work");
        await OpenAsync(work);
        const int Most = Slots + Slots + 1;

        // Of less than a group it may not have heard.
        Assert.InRange((await FloodedCommandTests.AskUntilAsync(work, Most - Group + 1)).Begun, Most - Group + 1, Most);
        _steps.Release(Steps);

        Assert.InRange((await FloodedCommandTests.AskUntilAsync(work, Most + Steps - Group + 1)).Begun, Most + Steps - Group + 1, Most + Steps);
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Elsewhere))] // S34: the smaller of both
    public async Task AStageOfLessThanTheLink_IsAheadByItsOwnCapacity(string place)
    {
        const int Slots = 8, Own = 3;
        PipelineRun run = Start(Pipeline.From(static () => new FloodedSource(), Placed.At(place, "work") with { BoundedCapacity = Own })
            .ForEach(StepAsync, new() { Name = "sink", BoundedCapacity = Slots }), Unhurried);
        IFlooded work = run.Control<IFlooded>("work");
        await OpenAsync(work);

        Assert.Equal(Slots + Own + 1, (await FloodedCommandTests.AskUntilAsync(work, Slots + Own + 1)).Begun);
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Elsewhere))] // S41: it waits until the emit of the tick has its slot, and for no more than that
    public async Task ACommandBehindATickThatWaitsForASlot_IsAnsweredWhenOneGetsFree(string place)
    {
        const int Slots = 2;
        PipelineRun run = Start(Pipeline.From(static () => new FloodedTicks(), Placed.At(place, "work") with { BoundedCapacity = StageCapacity, TickInterval = TimeSpan.FromMilliseconds(1) })
            .ForEach(StepAsync, new() { Name = "sink", BoundedCapacity = Slots }), Unhurried);
        IFlooded work = run.Control<IFlooded>("work");
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work").Activity == StageActivity.WaitingForOutput, "the link is full");

        for (int step = 1; step <= 10; step++)
        {
            Task<Seen> asked = work.AskAsync().AsTask();
            _steps.Release();
            Assert.InRange((await asked.Within()).Begun, 1, Slots + Slots + step);
        }

        await EndAsync(run);
    }

    [Theory] // S34
    [InlineData("a", 2)]
    [InlineData("b", 5)]
    public async Task AnItemOfManyOutputs_IsAheadByTheLinkOfThePort(string port, int slots)
    {
        s_made = 0;
        PipelineRun run = Start(Pipeline.From([port])
            .Into(static () => new Many(), static r => r.In, Placed.At("loopback", "work") with { BoundedCapacity = StageCapacity })
            .Branch(static r => r.A, b => b.ForEach(StepAsync, new() { Name = "a", BoundedCapacity = 2 }))
            .Branch(static r => r.B, b => b.ForEach(StepAsync, new() { Name = "b", BoundedCapacity = 5 }))
            .End());

        int begun = slots + slots + 1;
        for (int step = 0; step < 5; step++)
        {
            int expected = begun + step;
            await Waiting.UntilAsync(() => Volatile.Read(ref s_made) >= expected, "it goes on");
            Assert.Equal(expected, Volatile.Read(ref s_made));
            _steps.Release();
        }

        _steps.Release(Many.Outputs);
        await run.Completion.Within();
        Assert.Equal(Many.Outputs, run.Snapshot().Stage(port).Accepted);
    }

    [Fact] // S34: each of an ordered pool works ahead while it waits for its turn
    public async Task AnOrderedPoolBeforeASmallLink_WorksOnWhileTheOldestItemTakesLong()
    {
        const int Items = 20;
        s_made = 0;
        s_first = new Gate();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, Items))
            .Transform(static async x =>
            {
                if (x == 0)
                    await s_first.WaitAsync();
                Interlocked.Increment(ref s_made);
                return x;
            }, Placed.At("loopback", "work") with { BoundedCapacity = StageCapacity, MaxDegreeOfParallelism = 2 })
            .ForEach(seen.Add, new() { BoundedCapacity = 1 }));

        // All that the other instance was given.
        await Waiting.UntilAsync(() => Volatile.Read(ref s_made) >= Items / 2, "the other instance works on");
        s_first.Open();

        await run.Completion.Within();
        Assert.Equal(Enumerable.Range(0, Items), seen);
    }

    private async ValueTask StepAsync(int item) =>
        Assert.True(await _steps.WaitAsync(Waiting.Limit, TestToken), $"Nothing lets item {item} go.");

    private static async Task OpenAsync(IFlooded work)
    {
        var gate = new SteppedGate();
        gate.Open();
        await work.UseGateAsync(gate).AsTask().Within();
    }

    private async Task EndAsync(PipelineRun run)
    {
        _steps.Release(1_000_000);
        run.Complete();
        await run.Completion.Within();
    }

    /// <summary>Makes many outputs of one item, at the port that it names.</summary>
    private sealed class Many : PortRunnable
    {
        public const int Outputs = 40;

        public Many() => In = new(async (port, ct) =>
        {
            for (int i = 0; i < Outputs; i++)
            {
                Interlocked.Increment(ref s_made);
                await (port == "a" ? A : B).EmitAsync(i, ct);
            }
        });

        public Input<string> In { get; }

        public Output<int> A { get; } = new();

        public Output<int> B { get; } = new();
    }
}
