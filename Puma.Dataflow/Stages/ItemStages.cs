using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>Chooses the stage for user code that handles items: one instance in line, or a pool.</summary>
internal static class ItemStages
{
    public static StageNode Create<TIn, TOut>(StageSetup setup, Func<ItemHandler<TIn, TOut>> makeHandler, Func<TIn, int>? partition = null)
    {
        Func<ItemHandler<TIn, TOut>> make = setup.Options.OwnThread ? () => new OwnThreadHandler<TIn, TOut>(makeHandler, setup.Name) : makeHandler;
        return setup.Options.MaxDegreeOfParallelism == 1
            ? new SerialStage<TIn, TOut, LinkEmitter<TOut>>(setup, make, static stage => new LinkEmitter<TOut>(stage, (Link<TOut>)stage.Outputs[0]))
            : new PoolStage<TIn, TOut>(setup, make, partition);
    }

    public static StageNode CreateSink<TIn>(StageSetup setup, Func<ItemHandler<TIn, NoOutput>> makeHandler, Func<TIn, int>? partition = null)
    {
        Func<ItemHandler<TIn, NoOutput>> make = setup.Options.OwnThread ? () => new OwnThreadHandler<TIn, NoOutput>(makeHandler, setup.Name) : makeHandler;
        return setup.Options.MaxDegreeOfParallelism == 1
            ? new SerialStage<TIn, NoOutput, NullEmitter>(setup, make, static _ => NullEmitter.Instance)
            : new PoolStage<TIn, NoOutput>(setup, make, partition);
    }

    public static StageNode CreateSource<TOut>(StageSetup setup, Func<SourceBody<TOut>> makeBody) =>
        new SourceStage<TOut>(setup, setup.Options.OwnThread ? () => new OwnThreadBody<TOut>(makeBody, setup.Name) : makeBody);
}
