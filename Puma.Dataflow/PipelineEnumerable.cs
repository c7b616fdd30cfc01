using Puma.Dataflow.Blocks;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>The outputs of a pipeline as a sequence; each enumeration is a run.</summary>
internal sealed class PipelineEnumerable<T>(PipelinePlan plan) : IAsyncEnumerable<T>
{
    public async IAsyncEnumerator<T> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        StartedRun started = plan.Start(cancellationToken);
        await using var run = new PipelineRun(started);
        ExitStage<T> exit = started.Nodes.OfType<ExitStage<T>>().Single();
        try
        {
            while (await exit.Block.HasMoreAsync().ConfigureAwait(false))
            {
                while (exit.Block.TryReceive(null, out T item))
                    yield return item;
            }

            await run.Completion.ConfigureAwait(false);
        }
        finally
        {
            // Left early: nobody wants more. What other branches have accepted is still handled.
            exit.RaiseFinish();
            await run.StopAsync(started.Graph.Options.AbortTimeout).ConfigureAwait(false);
        }
    }
}
