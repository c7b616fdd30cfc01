using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>A stage with ports forgot the end of one input while it told of another, and the writers of the inputs that were not in turn.</summary>
public sealed class PortTurnTests : PipelineTest
{
    [Fact] // S10
    public async Task InputThatEndsWhileAnotherIsToldOfItsEnd_IsToldToo()
    {
        Gate telling = new(), told = new();
        bool isFirstTold = false;
        PipelineRun run = Start(Pipeline.From(NothingAsync(telling), new() { Name = "feed" })
            .Into(
                () => new Ports(
                    static (_, _) => default,
                    _ =>
                    {
                        isFirstTold = true;
                        return default;
                    },
                    static (_, _) => default,
                    async ct =>
                    {
                        telling.Open();
                        await told.WaitAsync(ct);
                    }),
                static p => p.First)
            .From(static p => p.Second, Pipeline.From(Array.Empty<int>())).End());
        await run.Stage("feed").Completion.Within();
        told.Open();

        await run.Completion.Within();

        Assert.True(isFirstTold);
    }

    [Fact] // S34: slots are handed back before a handler that does not complete at once
    public async Task HandlerThatWaits_LetsTheWritersOfEveryInputGoOn()
    {
        const int Capacity = 32;
        Gate secondRuns = new(), full = new(), accepted = new();
        PipelineRun run = Start(Pipeline.From(OneAsync(secondRuns))
            .Into(
                () => new Ports(
                    async (_, ct) => await accepted.WaitAsync(ct),
                    null,
                    async (_, ct) =>
                    {
                        secondRuns.Open();
                        await full.WaitAsync(ct);
                    },
                    null),
                static p => p.First,
                new() { Name = "ports", BoundedCapacity = Capacity })
            .From(static p => p.Second, Pipeline.From(OneMoreThan(Capacity, accepted), new() { Name = "flood" })).End());
        await Waiting.UntilAsync(
            () => run.Snapshot() is var s && s.Stage("flood").Activity == StageActivity.WaitingForOutput && s.Stage("ports").SlotsHeld == Capacity + 1,
            "one input is full and the other has its item");
        full.Open();

        await run.Completion.Within();

        Assert.Equal(Capacity + 2, run.Snapshot().Stage("ports").Delivered);
    }

    private static async IAsyncEnumerable<int> NothingAsync(Gate gate)
    {
        await gate.WaitAsync();
        yield break;
    }

    private static async IAsyncEnumerable<int> OneAsync(Gate gate)
    {
        await gate.WaitAsync();
        yield return 0;
    }

    /// <summary>Opens the gate when the item beyond the capacity was accepted.</summary>
    private static IEnumerable<int> OneMoreThan(int capacity, Gate gate)
    {
        for (int i = 0; i <= capacity; i++)
            yield return i;
        gate.Open();
    }

    private sealed class Ports(
        Func<int, CancellationToken, ValueTask> onFirst,
        Func<CancellationToken, ValueTask>? onFirstEnd,
        Func<int, CancellationToken, ValueTask> onSecond,
        Func<CancellationToken, ValueTask>? onSecondEnd) : PortRunnable
    {
        public Input<int> First { get; } = new(onFirst, onFirstEnd);

        public Input<int> Second { get; } = new(onSecond, onSecondEnd);
    }
}
