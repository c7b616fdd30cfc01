using Puma.Dataflow.Buffers;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Items that are shorter than their way to another thread are handled in the turn of the stream.</summary>
public sealed class ShortItemPoolTests() : ShortItemPoolContract(microseconds: 0)
{
    [Fact] // Whether a turn is short depends on the machine: one short one is enough.
    public Task ShortItems_AreHandledInTheTurnOfTheStream() => Waiting.UntilItIsSeenAsync(
        async () =>
        {
            bool isInTurn = false;
            await Start(Pipeline
                .From(Enumerable.Range(1, Items))
                .Transform(
                    x =>
                    {
                        if (Turn.Here is { KeepsBack: true })
                            Volatile.Write(ref isInTurn, true);
                        return x;
                    },
                    Pool)
                .ForEach(static _ => { })).Completion.Within();
            return isInTurn;
        },
        "an item is handled in a turn");
}
