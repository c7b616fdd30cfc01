using Puma.Dataflow.Buffers;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Items that are shorter than their way to another thread are handled in the turn of the stream.</summary>
public sealed class ShortItemPoolTests() : ShortItemPoolContract(microseconds: 0)
{
    [Fact]
    public async Task ShortItems_AreHandledInTheTurnOfTheStream()
    {
        // Whether a turn is short depends on the machine: one short one is enough.
        long inTurn = 0, begin = TimeProvider.System.GetTimestamp();
        while (inTurn == 0)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(begin) < Waiting.Limit, "No item was handled in a turn.");
            await Start(Pipeline
                .From(Enumerable.Range(1, Items))
                .Transform(
                    x =>
                    {
                        if (Turn.Here is { KeepsBack: true })
                            Interlocked.Increment(ref inTurn);
                        return x;
                    },
                    Pool)
                .ForEach(static _ => { })).Completion.Within();
        }
    }
}
