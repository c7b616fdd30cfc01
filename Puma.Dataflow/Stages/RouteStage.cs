using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Gives each item to the first branch whose predicate it satisfies, else to the last one.</summary>
internal sealed class RouteStage<T>(StageSetup setup, IReadOnlyList<Func<T, bool>> predicates) : MovingStage(setup)
{
    protected override async Task RunAsync()
    {
        var input = (Link<T>)Inputs[0];
        for (long number = 1; !MustEnd; number++)
        {
            if (!input.TryRead(out T item))
            {
                if (!await WaitForInputAsync().ConfigureAwait(false))
                    return;
                number--;
                continue;
            }

            input.CountReceived();
            int branch;
            try
            {
                branch = Choose(item);
            }
            catch (Exception error)
            {
                await this.SettleAsync(input, item, number, new Fate(FateKind.Failed, error)).ConfigureAwait(false);
                return;
            }

            try
            {
                Settle(input, item, await WriteAsync((Link<T>)Outputs[branch], item).ConfigureAwait(false), DiscardReason.NoDemand);
            }
            catch (PipelineFullException full)
            {
                FailAt(input, item, number, full);
                return;
            }
        }
    }

    private int Choose(T item)
    {
        for (int i = 0; i < predicates.Count; i++)
        {
            if (predicates[i](item))
                return i;
        }

        return predicates.Count;
    }
}
