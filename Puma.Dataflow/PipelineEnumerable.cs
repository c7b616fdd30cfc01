using System.Threading.Tasks.Dataflow;
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
            while (await HasMoreAsync(exit.Block).ConfigureAwait(false))
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

    /// <summary>Waits for the next value; how the stream ended is told by the run.</summary>
    private static async ValueTask<bool> HasMoreAsync(ExitBlock<T> exit)
    {
        try
        {
            return await exit.OutputAvailableAsync(CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception)
        {
            return false;
        }
    }
}
