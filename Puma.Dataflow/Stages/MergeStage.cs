using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Passes on the items of several inputs, one of each in turn; ends when all have ended, or by option the first.</summary>
internal sealed class MergeStage<T>(StageSetup setup) : MovingStage(setup)
{
    protected override async Task RunAsync()
    {
        var output = (Link<T>)Outputs[0];
        while (!MustEnd)
        {
            bool hasMoved = false;
            foreach (Link link in Inputs)
            {
                var input = (Link<T>)link;
                if (!input.TryRead(out T item))
                    continue;
                hasMoved = true;
                input.CountReceived();
                Settle(input, item, await WriteAsync(output, item).ConfigureAwait(false), DiscardReason.NoDemand);
                if (MustEnd)
                    return;
            }

            if (Options.FanIn == FanIn.Any && HaveInputsEnded())
                return;
            if (!hasMoved && !await WaitForInputAsync().ConfigureAwait(false))
                return;
        }
    }
}
