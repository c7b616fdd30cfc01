using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Passes on the first items and then ends, as completed.</summary>
internal sealed class TakeStage<T>(StageSetup setup, long count) : MovingStage(setup)
{
    protected override async Task RunAsync()
    {
        var input = (Link<T>)Inputs[0];
        var output = (Link<T>)Outputs[0];
        for (long left = count; left > 0; left--)
        {
            T item;
            while (!input.TryRead(out item))
            {
                if (MustEnd || !await WaitForInputAsync().ConfigureAwait(false))
                    return;
            }

            input.CountReceived();
            Settle(input, item, await WriteAsync(output, item).ConfigureAwait(false), DiscardReason.NoDemand);
            if (MustEnd)
                return;
        }

        RaiseFinish();
    }
}
