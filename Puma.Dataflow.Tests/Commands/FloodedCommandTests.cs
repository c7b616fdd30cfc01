using System.Runtime.CompilerServices;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

/// <summary>
/// An instance whose input is always full runs a command after at most one more item, counted by the instance itself, wherever it lives.
/// </summary>
/// <remarks>
/// The item in work stands at a gate of the test. A call is sent before the gate opens: to a child both go by the control connection, in
/// that order, so that the call has arrived when the item goes on.
/// </remarks>
public sealed class FloodedCommandTests : ChildTest
{
    private const int Capacity = 64;
    private const int Held = 5;

    public static TheoryData<string> Places => Placed.All;

    /// <summary>How long calls wait here is up to the test.</summary>
    private PipelineOptions Unhurried => Options with { SlowCallWarning = Timeout.InfiniteTimeSpan };

    [Theory, MemberData(nameof(Places))] // S25, S41
    public async Task Commands_UnderAFloodedInput_RunInOrderAfterAtMostOneMoreItem(string place)
    {
        var begin = new Gate();
        PipelineRun run = Start(Pipeline.From(Flood(begin), new() { Name = "source" })
            .Then(static () => new FloodedRunnable(), Placed.At(place, "work") with { BoundedCapacity = Capacity })
            .ForEach(static _ => { }), Unhurried);
        IFlooded work = run.Control<IFlooded>("work");
        SteppedGate gate = await HoldAsync(work, begin, Held);
        await UntilFloodedAsync(run);
        Task<Seen>[] asked = [.. Enumerable.Range(0, 10).Select(_ => work.AskAsync().AsTask())];
        gate.Open();

        Seen[] seen = await Task.WhenAll(asked).Within();

        Assert.All(seen, static s => Assert.InRange(s.Begun, Held, Held + 1));
        Assert.Equal(Enumerable.Range(1, 10), seen.Select(static s => s.Order));
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S25, S41, Puma G5
    public async Task ACommandToAPool_UnderAFloodedInput_RunsOnEachInstanceAfterAtMostOneMoreItemOfIt(string place)
    {
        const int Instances = 3;
        var begin = new Gate();
        PipelineRun run = Start(Pipeline.From(Flood(begin), new() { Name = "source" })
            .Then(static () => new FloodedRunnable(), Placed.At(place, "work") with { BoundedCapacity = Capacity, MaxDegreeOfParallelism = Instances })
            .ForEach(static _ => { }), Unhurried);
        IFlooded[] each = [.. Enumerable.Range(0, Instances).Select(i => run.Control<IFlooded>("work", i))];
        SteppedGate[] gates = [.. each.Select(static _ => new SteppedGate())];
        for (int i = 0; i < Instances; i++)
            await each[i].UseGateAsync(gates[i]).AsTask().Within();
        begin.Open();
        foreach (SteppedGate gate in gates)
            await gate.ArrivedAsync();
        await UntilFloodedAsync(run);
        Task noted = run.Control<IFlooded>("work").NoteAsync().AsTask();
        Task<Seen>[] asked = [.. each.Select(static e => e.AskAsync().AsTask())];
        foreach (SteppedGate gate in gates)
            gate.Open();

        await noted.Within();
        Assert.All(await Task.WhenAll(asked).Within(), static s => Assert.InRange(s.Begun, 1, 2));
        foreach (IFlooded one in each)
            Assert.InRange(await one.NotedAsync().AsTask().Within(), 1, 2);
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S25, S41
    public async Task ACommandToASourceThatEmitsWithoutEnd_RunsAtItsNextEmit(string place)
    {
        PipelineRun run = Start(Pipeline.From(static () => new FloodedSource(), Placed.At(place, "work"))
            .ForEach(static _ => { }), Unhurried);
        IFlooded work = run.Control<IFlooded>("work");
        SteppedGate gate = await HoldAsync(work, new Gate(), Held);
        Task<Seen>[] asked = [.. Enumerable.Range(0, 3).Select(_ => work.AskAsync().AsTask())];
        gate.Open();

        Assert.Equal([new(Held, 1), new(Held, 2), new(Held, 3)], await Task.WhenAll(asked).Within());
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S41
    public async Task ACommandToASourceThatWaitsForASlot_RunsWhileItWaits(string place)
    {
        const int Slots = 4;
        var sink = new Gate();
        PipelineRun run = Start(Pipeline.From(static () => new FloodedSource(), Placed.At(place, "work") with { BoundedCapacity = Slots })
            .ForEach(async _ => await sink.WaitAsync(TestToken), new() { Name = "sink", BoundedCapacity = Slots }), Unhurried);
        IFlooded work = run.Control<IFlooded>("work");
        SteppedGate gate = await HoldAsync(work, new Gate(), Held);
        gate.Open();
        await UntilFloodedAsync(run, "sink");

        // A child is ahead of the link by as many outputs as the link has slots.
        int begun = Slots + 1 + (Placed.IsIsolated(place) ? Slots : 0);
        Seen seen = await AskUntilAsync(work, begun);

        Assert.Equal(begun, seen.Begun);
        for (int i = 1; i <= 10; i++)
            Assert.Equal(new(begun, seen.Order + i), await work.AskAsync().AsTask().Within());

        Assert.False(sink.IsOpen);
        sink.Open();
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S25, S41: it does not interrupt a handler, also not one that waits for a slot
    public async Task ACommand_WhileAnItemWaitsForASlot_RunsAfterTheItem(string place)
    {
        const int Slots = Held - 1;
        Gate begin = new(), sink = new();
        PipelineRun run = Start(Pipeline.From(Flood(begin), new() { Name = "source" })
            .Then(static () => new FloodedRunnable(), Placed.At(place, "work") with { BoundedCapacity = Capacity })
            .ForEach(async _ => await sink.WaitAsync(TestToken), new() { Name = "sink", BoundedCapacity = Slots }), Unhurried);
        IFlooded work = run.Control<IFlooded>("work");
        SteppedGate gate = await HoldAsync(work, begin, Held);
        await UntilFloodedAsync(run);
        await UntilFloodedAsync(run, "sink");
        Task<Seen> asked = work.AskAsync().AsTask();
        gate.Open();
        await Waiting.UntilAsync(() => run.Snapshot().Stage("work").Activity == StageActivity.WaitingForOutput, "the item waits for a slot");

        // A child makes as many outputs ahead as the link has slots, so there its item may have gone on.
        Assert.True(Placed.IsIsolated(place) || !asked.IsCompleted);
        sink.Open();

        Assert.InRange((await asked.Within()).Begun, Held, Held + 1);
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S25, S41
    public async Task TwoInputsOneFlooded_ACommandAndTheOtherInputGetTheirTurn(string place)
    {
        Gate begin = new(), rare = new();
        PipelineRun run = Start(Pipeline.From(Flood(begin), new() { Name = "source" })
            .Into(static () => new FloodedPorts(), static r => r.Flood, Placed.At(place, "work") with { BoundedCapacity = Capacity })
            .From(static r => r.Rare, Pipeline.From(OneAsync(rare), new() { Name = "rare" }))
            .End(), Unhurried);
        IFlooded work = run.Control<IFlooded>("work");
        SteppedGate gate = await HoldAsync(work, begin, Held);
        await Waiting.UntilAsync(() => LinkFrom("source").SlotsHeld == Capacity, "the input is full");
        rare.Open();

        // What a child was sent before comes before; nothing comes between the item and the handler in this process.
        bool isSent = Placed.IsIsolated(place);
        await Waiting.UntilAsync(() => (isSent ? LinkFrom("rare").Received : LinkFrom("rare").Sent) == 1, "the other input has its item");
        Task<Seen> asked = work.AskAsync().AsTask();
        gate.Open();

        Assert.InRange((await asked.Within()).Begun, Held, Held + 1);
        Assert.InRange(await gate.Told.Within(), Held, isSent ? Held - 1 + Capacity : Held + 1);
        await EndAsync(run);

        LinkReport LinkFrom(string stage) => run.Snapshot().Links.Single(l => l.From == stage);
    }

    [Theory, MemberData(nameof(Placed.OnFakeTime), MemberType = typeof(Placed))] // S25, S41, S44
    public async Task Ticks_UnderAFloodedInput_KeepTheirRhythm(string place)
    {
        var begin = new Gate();
        PipelineRun run = Start(
            Pipeline.From(Flood(begin), new() { Name = "source" })
                .Then(static () => new FloodedRunnable(), Placed.At(place, "work") with { BoundedCapacity = Capacity, TickInterval = TimeSpan.FromSeconds(1) })
                .ForEach(static _ => { }),
            Unhurried with { TimeProvider = Time });
        IFlooded work = run.Control<IFlooded>("work");
        SteppedGate gate = await HoldAsync(work, begin, 1);
        for (int second = 1; second <= 10; second++)
        {
            Time.Advance(TimeSpan.FromSeconds(1));
            gate.Step();
            await gate.ArrivedAsync();
        }

        Task<int[]> ticks = work.TicksAsync().AsTask();
        gate.Open();

        // One tick between two items, each second.
        Assert.Equal(Enumerable.Range(1, 10), await ticks.Within());
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S25, S41
    public async Task Ticks_UnderAFloodThatNeverRests_Run(string place)
    {
        var begin = new Gate();
        PipelineRun run = Start(Pipeline.From(Flood(begin), new() { Name = "source" })
            .Then(static () => new FloodedRunnable(), Placed.At(place, "work") with { BoundedCapacity = Capacity, TickInterval = TimeSpan.FromMilliseconds(1) })
            .ForEach(static _ => { }), Unhurried);
        SteppedGate gate = await HoldAsync(run.Control<IFlooded>("work"), begin, 1);
        gate.Open();

        await gate.Told.Within();

        await EndAsync(run);
    }

    private static async Task<SteppedGate> HoldAsync(IFlooded work, Gate begin, int item)
    {
        var gate = new SteppedGate();
        await work.UseGateAsync(gate).AsTask().Within();
        begin.Open();
        await gate.UntilItemAsync(item);
        return gate;
    }

    /// <summary>Asks again until a number of items has begun.</summary>
    internal static async Task<Seen> AskUntilAsync(IFlooded work, int begun)
    {
        using var limit = new CancellationTokenSource(Waiting.Limit);
        while (true)
        {
            Seen seen = await work.AskAsync().AsTask().Within();
            if (seen.Begun >= begun)
                return seen;
            limit.Token.ThrowIfCancellationRequested();
        }
    }

    private static Task UntilFloodedAsync(PipelineRun run, string stage = "work") =>
        Waiting.UntilAsync(() => run.Snapshot().Stage(stage) is var s && s.SlotsHeld == s.Capacity, $"the input of {stage} is full");

    private static async Task EndAsync(PipelineRun run)
    {
        run.Complete();
        await run.Completion.Within();
    }

    private static async IAsyncEnumerable<int> Flood(Gate begin, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        await begin.WaitAsync(cancellationToken);
        for (int i = 0; ; i++)
            yield return i;
    }

    private static async IAsyncEnumerable<int> OneAsync(Gate begin, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        await begin.WaitAsync(cancellationToken);
        yield return 0;
    }
}
