using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

public partial class PipelineBuilder<TIn, T>
{
    /// <summary>Hands the items to a foreign target, which is completed, or faulted, when they have ended. Such a pipeline runs once.</summary>
    /// <param name="target">The target.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: while the target postpones.
    /// Completes: when the target's <c>Completion</c> has. Faults: when the target does.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="target"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To(ITargetBlock<T> target, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(target);
        return EndWith(new StageDefinition("to", options ?? StageOptions.Default, setup => new ForeignEndStage<T>(setup, () => new BlockTarget<T, T>(target))) { SingleUse = target });
    }

    /// <summary>Hands the items to a foreign target, which a factory makes anew for each run.</summary>
    /// <param name="factory">Makes the target; it is completed, or faulted, when the items have ended.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="To(ITargetBlock{T}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To(Func<ITargetBlock<T>> factory, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return EndWith(new StageDefinition("to", options ?? StageOptions.Default, setup => new ForeignEndStage<T>(setup, () => new BlockTarget<T, T>(factory()))));
    }

    /// <summary>Hands the items to a channel, which is completed when they have ended. Such a pipeline runs once.</summary>
    /// <param name="writer">The channel's writer.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: while the channel is full.
    /// Completes: when the input has ended and the channel has taken the last item; when the channel was completed by others it ends for lack of demand. Faults: when the channel throws.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="writer"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To(ChannelWriter<T> writer, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(writer);
        return EndWith(new StageDefinition("to", options ?? StageOptions.Default, setup => new ForeignEndStage<T>(setup, () => new ChannelTarget<T, T>(writer))) { SingleUse = writer });
    }

    /// <summary>Hands the items to a runnable that exists already. Such a pipeline runs once.</summary>
    /// <param name="sink">The runnable.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the runnable.
    /// Completes: when the input has ended and <c>OnCompletedAsync</c> has returned. Faults: when a callback throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="sink"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To(SinkRunnable<T> sink, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(sink);
        return EndWith(RunnableStages.Sink(options, sink));
    }

    /// <summary>Hands the items to a runnable, which a factory makes anew for each run and instance.</summary>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="To(SinkRunnable{T}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To(Func<SinkRunnable<T>> factory, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return EndWith(RunnableStages.Sink(options, factory));
    }

    /// <summary>Hands the items to a runnable, which a factory makes anew from an options value for each run and instance.</summary>
    /// <typeparam name="TOptions">The type of the options: a value that is copied to where the runnable runs.</typeparam>
    /// <param name="factory">Makes the runnable where it runs.</param>
    /// <param name="runnableOptions">What the factory is given.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <inheritdoc cref="To(SinkRunnable{T}, StageOptions?)" path="/remarks"/>
    /// <exception cref="ArgumentNullException"><paramref name="factory"/> is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineEnd<TIn> To<TOptions>(Func<TOptions, SinkRunnable<T>> factory, TOptions runnableOptions, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return EndWith(RunnableStages.Sink(options, factory, runnableOptions));
    }
}
