using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>A pipeline whose next stage hands all items of a key to the same instance (<see cref="StageOptions.MaxDegreeOfParallelism"/> says how many there are).</summary>
/// <typeparam name="TIn">What the pipeline accepts.</typeparam>
/// <typeparam name="T">The item type.</typeparam>
public sealed class PartitionBuilder<TIn, T>
{
    private readonly PipelineBuilder<TIn, T> _builder;
    private readonly Func<T, int> _keyHash;

    internal PartitionBuilder(PipelineBuilder<TIn, T> builder, Func<T, int> keyHash)
    {
        _builder = builder;
        _keyHash = keyHash;
    }

    /// <inheritdoc cref="PipelineBuilder{TIn, T}.Then{TOut}(Runnable{T, TOut}, StageOptions?)"/>
    public PipelineBuilder<TIn, TOut> Then<TOut>(Runnable<T, TOut> runnable, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(runnable);
        return _builder.Continue<TOut>(RunnableStages.Items<T, TOut>(options, runnable, _keyHash));
    }

    /// <inheritdoc cref="PipelineBuilder{TIn, T}.Then{TOut}(Func{Runnable{T, TOut}}, StageOptions?)"/>
    public PipelineBuilder<TIn, TOut> Then<TOut>(Func<Runnable<T, TOut>> factory, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return _builder.Continue<TOut>(RunnableStages.Items(options, factory, _keyHash));
    }

    /// <inheritdoc cref="PipelineBuilder{TIn, T}.Then{TOptions, TOut}(Func{TOptions, Runnable{T, TOut}}, TOptions, StageOptions?)"/>
    public PipelineBuilder<TIn, TOut> Then<TOptions, TOut>(Func<TOptions, Runnable<T, TOut>> factory, TOptions runnableOptions, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return _builder.Continue<TOut>(RunnableStages.Items(options, factory, runnableOptions, _keyHash));
    }

    /// <inheritdoc cref="PipelineBuilder{TIn, T}.To(SinkRunnable{T}, StageOptions?)"/>
    public PipelineEnd<TIn> To(SinkRunnable<T> sink, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(sink);
        return _builder.EndWith(RunnableStages.Sink(options, sink, _keyHash));
    }

    /// <inheritdoc cref="PipelineBuilder{TIn, T}.To(Func{SinkRunnable{T}}, StageOptions?)"/>
    public PipelineEnd<TIn> To(Func<SinkRunnable<T>> factory, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return _builder.EndWith(RunnableStages.Sink(options, factory, _keyHash));
    }

    /// <inheritdoc cref="PipelineBuilder{TIn, T}.To{TOptions}(Func{TOptions, SinkRunnable{T}}, TOptions, StageOptions?)"/>
    public PipelineEnd<TIn> To<TOptions>(Func<TOptions, SinkRunnable<T>> factory, TOptions runnableOptions, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return _builder.EndWith(RunnableStages.Sink(options, factory, runnableOptions, _keyHash));
    }
}
