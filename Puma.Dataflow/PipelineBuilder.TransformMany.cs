using System.Runtime.CompilerServices;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow;

public partial class PipelineBuilder<TIn, T>
{
    /// <summary>Makes any number of outputs of each item.</summary>
    /// <typeparam name="TOut">The output type.</typeparam>
    /// <param name="transform">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: every value of the returned sequence, as it comes. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every output was accepted. Faults: when the delegate or its sequence throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(3)]
    public PipelineBuilder<TIn, TOut> TransformMany<TOut>(Func<T, CancellationToken, IAsyncEnumerable<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Continue<TOut>(Items("transform-many", options, transform, static (code, _) => new AsyncManyHandler<T, TOut>((Func<T, CancellationToken, IAsyncEnumerable<TOut>>)code!), isAsyncStream: true));
    }

    /// <inheritdoc cref="TransformMany{TOut}(Func{T, CancellationToken, IAsyncEnumerable{TOut}}, StageOptions?)"/>
    [OverloadResolutionPriority(2)]
    public PipelineBuilder<TIn, TOut> TransformMany<TOut>(Func<T, IAsyncEnumerable<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Continue<TOut>(Items("transform-many", options, transform, static (code, _) =>
        {
            var user = (Func<T, IAsyncEnumerable<TOut>>)code!;
            return new AsyncManyHandler<T, TOut>((item, _) => user(item));
        }, isAsyncStream: true));
    }

    /// <inheritdoc cref="TransformMany{TOut}(Func{T, CancellationToken, IAsyncEnumerable{TOut}}, StageOptions?)"/>
    [OverloadResolutionPriority(-1)]
    public PipelineBuilder<TIn, TOut> TransformMany<TOut>(Func<T, CancellationToken, IEnumerable<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Continue<TOut>(Items("transform-many", options, transform, static (code, _) => new ManyHandler<T, TOut>((Func<T, CancellationToken, IEnumerable<TOut>>)code!)));
    }

    /// <inheritdoc cref="TransformMany{TOut}(Func{T, CancellationToken, IAsyncEnumerable{TOut}}, StageOptions?)"/>
    public PipelineBuilder<TIn, TOut> TransformMany<TOut>(Func<T, IEnumerable<TOut>> transform, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(transform);
        return Continue<TOut>(Items("transform-many", options, transform, static (code, _) =>
        {
            var user = (Func<T, IEnumerable<TOut>>)code!;
            return new ManyHandler<T, TOut>((item, _) => user(item));
        }));
    }
}
