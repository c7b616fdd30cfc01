using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// A call to an instance of an ordered pool was put in front of the item that the instance had in work, when that had started before
/// items of other keys in front of it: the call waited for the item, and its outputs for the call.
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

    public interface IFan
    {
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

        public ValueTask<int> CountAsync() => new(_count);
    }
}
