using System.Runtime.CompilerServices;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

public partial class PipelineBuilder<TIn, T>
{
    /// <summary>Makes one output of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: one output for each item, when the delegate has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(8)]
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, CancellationToken, ValueTask<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return AddTransform(options, transform, static (code, _) => new AsyncTransformHandler<T, TOut>((Func<T, CancellationToken, ValueTask<TOut>>)code!));
    }

    /// <inheritdoc cref="Transform{TOut}(Func{T, CancellationToken, ValueTask{TOut}}, StageOptions?)"/>
    [OverloadResolutionPriority(7)]
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, CancellationToken, Task<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return AddTransform(options, transform, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, Task<TOut>>)code!;
            return new AsyncTransformHandler<T, TOut>((item, token) => new ValueTask<TOut>(user(item, token)));
        });
    }

    /// <inheritdoc cref="Transform{TOut}(Func{T, CancellationToken, ValueTask{TOut}}, StageOptions?)"/>
    [OverloadResolutionPriority(6)]
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, ValueTask<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return AddTransform(options, transform, static (code, _) =>
        {
            var user = (Func<T, ValueTask<TOut>>)code!;
            return new AsyncTransformHandler<T, TOut>((item, _) => user(item));
        });
    }

    /// <inheritdoc cref="Transform{TOut}(Func{T, CancellationToken, ValueTask{TOut}}, StageOptions?)"/>
    [OverloadResolutionPriority(5)]
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, Task<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return AddTransform(options, transform, static (code, _) =>
        {
            var user = (Func<T, Task<TOut>>)code!;
            return new AsyncTransformHandler<T, TOut>((item, _) => new ValueTask<TOut>(user(item)));
        });
    }

    /// <inheritdoc cref="Transform{TOut}(Func{T, CancellationToken, ValueTask{TOut}}, StageOptions?)"/>
    [OverloadResolutionPriority(-1)]
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, CancellationToken, TOut> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return AddTransform(options, transform, static (code, _) => new TransformHandler<T, TOut>((Func<T, CancellationToken, TOut>)code!));
    }

    /// <inheritdoc cref="Transform{TOut}(Func{T, CancellationToken, ValueTask{TOut}}, StageOptions?)"/>
    public PipelineBuilder<TIn, TOut> Transform<TOut>(Func<T, TOut> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return AddTransform(options, transform, static (code, _) =>
        {
            var user = (Func<T, TOut>)code!;
            return new TransformHandler<T, TOut>((item, _) => user(item));
        });
    }

    /// <summary>Refused at compile time: a transform returns a value.</summary>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    [OverloadResolutionPriority(4)]
    [Obsolete("A transform returns a value: use Tap or ForEach.", error: true)]
    public PipelineBuilder<TIn, T> Transform(Func<T, CancellationToken, ValueTask> transform, StageOptions? options = null) => throw new NotSupportedException("A transform returns a value: use Tap or ForEach.");

    /// <inheritdoc cref="Transform(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(3)]
    [Obsolete("A transform returns a value: use Tap or ForEach.", error: true)]
    public PipelineBuilder<TIn, T> Transform(Func<T, CancellationToken, Task> transform, StageOptions? options = null) => throw new NotSupportedException("A transform returns a value: use Tap or ForEach.");

    /// <inheritdoc cref="Transform(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(2)]
    [Obsolete("A transform returns a value: use Tap or ForEach.", error: true)]
    public PipelineBuilder<TIn, T> Transform(Func<T, ValueTask> transform, StageOptions? options = null) => throw new NotSupportedException("A transform returns a value: use Tap or ForEach.");

    /// <inheritdoc cref="Transform(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(1)]
    [Obsolete("A transform returns a value: use Tap or ForEach.", error: true)]
    public PipelineBuilder<TIn, T> Transform(Func<T, Task> transform, StageOptions? options = null) => throw new NotSupportedException("A transform returns a value: use Tap or ForEach.");

    private PipelineBuilder<TIn, TOut> AddTransform<TOut>(StageOptions? options, Delegate transform, CodeMaker<ItemHandler<T, TOut>> maker) =>
        Continue<TOut>(Items("transform", options, transform, maker, isOneToOne: true));
}
