using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// A call to an instance of an ordered pool was put in front of the item that the instance had in work, when that had started before
/// items of other keys in front of it: the call waited for the item, and its outputs for the call. Later it was put behind what other
/// instances had started, and then also behind items of its own instance that had not: those waited for the call, and its outputs for them.
/// </summary>
public sealed class PartitionTurnTests : PipelineTest
{
    private const int Outputs = 500;

    [Fact] // S41, S42
    public async Task CallToAnInstance_WhoseItemHasStartedBeforeThoseInFront_IsAnswered()
    {
        Gate firstRuns = new(), endFirst = new(), laterRuns = new(), endLater = new();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .PartitionBy(static x => x % 2)
            .Then(
                () => new Fan(async item =>
                {
                    if (item is not (2 or 3))
                        return;
                    (item == 2 ? firstRuns : laterRuns).Open();
                    await (item == 2 ? endFirst : endLater).WaitAsync(TestToken);
                }),
                new() { Name = "fan", MaxDegreeOfParallelism = 2, EnsureOrdered = true })
            .ForEach(seen.Add));
        await run.SendAsync(2, TestToken);
        await firstRuns.WaitAsync(TestToken);

        // The first one waits for its instance; the other one has started.
        await run.SendAsync(4, TestToken);
        await run.SendAsync(3, TestToken);
        await laterRuns.WaitAsync(TestToken);
        Task<int> call = run.Control<IFan>("fan", instance: 1).CountAsync().AsTask();

        // Who has read two more items one after another has seen the call.
        for (int i = 0; i < 2; i++)
        {
            await run.SendAsync(4, TestToken);
            await Waiting.UntilAsync(() => run.Snapshot().Links.Single(static l => l.To == "fan").Queued == 0, "the stage has read the item");
        }

        endLater.Open();
        endFirst.Open();
        run.Complete();
        await run.Completion.Within();

        Assert.Equal(1, await call.Within());
        Assert.Equal([.. Enumerable.Repeat(2, Outputs), .. Enumerable.Repeat(4, Outputs), .. Enumerable.Repeat(3, Outputs), .. Enumerable.Repeat(4, 2 * Outputs)], seen);
    }

    [Fact] // S41, S42
    public async Task CallThatEmits_WithAnItemOfItsInstanceBehind_IsAnswered()
    {
        Gate firstRuns = new(), endFirst = new();
        Gate[] others = [new(), new()];
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .PartitionBy(static x => x % 2)
            .Then(
                () => new Fan(async item =>
                {
                    if (item is 1 or 3)
                        others[item / 2].Open();
                    if (item != 2)
                        return;
                    firstRuns.Open();
                    await endFirst.WaitAsync(TestToken);
                }),
                new() { Name = "fan", MaxDegreeOfParallelism = 2, EnsureOrdered = true })
            .ForEach(seen.Add));
        await run.SendAsync(2, TestToken);
        await firstRuns.WaitAsync(TestToken);

        // The next item waits for the call, and the call for the first item.
        await run.SendAsync(4, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Links.Single(static l => l.To == "fan").Queued == 0, "the stage has read the item");
        Task call = run.Control<IFan>("fan", instance: 0).FanOutAsync(0).AsTask();

        // The other instance is not held up. Who has read its second item has seen that the first one had started.
        await run.SendAsync(1, TestToken);
        await others[0].WaitAsync(TestToken);
        await run.SendAsync(3, TestToken);
        await Waiting.UntilAsync(() => run.Snapshot().Links.Single(static l => l.To == "fan").Queued == 0, "the stage has read the item");

        endFirst.Open();
        await call.Within();
        run.Complete();
        await run.Completion.Within();

        Assert.Equal([2, 0, 4, 1, 3], seen.Where((x, i) => i == 0 || x != seen[i - 1]));
        Assert.Equal(5 * Outputs, seen.Count);
    }

    public interface IFan
    {
        ValueTask FanOutAsync(int value);

        ValueTask<int> CountAsync();
    }

    private sealed class Fan(Func<int, ValueTask> handle) : Runnable<int, int>, IFan
    {
        private int _count;

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await handle(item);
            for (int i = 0; i < Outputs; i++)
                await EmitAsync(item, cancellationToken);
            _count++;
        }

        public async ValueTask FanOutAsync(int value)
        {
            for (int i = 0; i < Outputs; i++)
                await EmitAsync(value);
        }

        public ValueTask<int> CountAsync() => new(_count);
    }
}
