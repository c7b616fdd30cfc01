using System.Runtime.CompilerServices;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow;

public partial class PipelineBuilder<TIn, T>
{
    /// <summary>Passes on the items for which a predicate holds.</summary>
    /// <param name="predicate">The predicate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: the items for which the predicate holds. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every passed item was accepted. Faults: when the predicate throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(4)]
    public PipelineBuilder<TIn, T> Where(Func<T, CancellationToken, ValueTask<bool>> predicate, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        return AddWhere(options, predicate, static (code, _) => new WhereHandler<T>((Func<T, CancellationToken, ValueTask<bool>>)code!));
    }

    /// <inheritdoc cref="Where(Func{T, CancellationToken, ValueTask{bool}}, StageOptions?)"/>
    [OverloadResolutionPriority(3)]
    public PipelineBuilder<TIn, T> Where(Func<T, CancellationToken, Task<bool>> predicate, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        return AddWhere(options, predicate, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, Task<bool>>)code!;
            return new WhereHandler<T>((item, token) => new ValueTask<bool>(user(item, token)));
        });
    }

    /// <inheritdoc cref="Where(Func{T, CancellationToken, ValueTask{bool}}, StageOptions?)"/>
    [OverloadResolutionPriority(2)]
    public PipelineBuilder<TIn, T> Where(Func<T, ValueTask<bool>> predicate, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        return AddWhere(options, predicate, static (code, _) =>
        {
            var user = (Func<T, ValueTask<bool>>)code!;
            return new WhereHandler<T>((item, _) => user(item));
        });
    }

    /// <inheritdoc cref="Where(Func{T, CancellationToken, ValueTask{bool}}, StageOptions?)"/>
    [OverloadResolutionPriority(1)]
    public PipelineBuilder<TIn, T> Where(Func<T, Task<bool>> predicate, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        return AddWhere(options, predicate, static (code, _) =>
        {
            var user = (Func<T, Task<bool>>)code!;
            return new WhereHandler<T>((item, _) => new ValueTask<bool>(user(item)));
        });
    }

    /// <inheritdoc cref="Where(Func{T, CancellationToken, ValueTask{bool}}, StageOptions?)"/>
    public PipelineBuilder<TIn, T> Where(Func<T, bool> predicate, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        return AddWhere(options, predicate, static (code, _) =>
        {
            var user = (Func<T, bool>)code!;
            return new WhereHandler<T>((item, _) => new ValueTask<bool>(user(item)));
        });
    }

    /// <summary>Passes on the items that are of a type.</summary>
    /// <typeparam name="TOut">The type.</typeparam>
    /// <param name="options">The settings of the stage; unless they name a placement, it is in this process, whatever the pipeline's default.</param>
    /// <remarks>
    /// Emits: the items of the type. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every passed item was accepted. Faults: never by itself.
    /// </remarks>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    public PipelineBuilder<TIn, TOut> OfType<TOut>(StageOptions? options = null)
        where TOut : T
    {
        // A stage without user code has nothing to gain elsewhere.
        options ??= StageOptions.Default;
        return Continue<TOut>(Items("of-type", options with { Placement = options.Placement ?? Placement.InProcess }, null, static (_, _) => new OfTypeHandler<T, TOut>()));
    }

    private PipelineBuilder<TIn, T> AddWhere(StageOptions? options, Delegate predicate, CodeMaker<ItemHandler<T, T>> maker) =>
        Continue<T>(Items("where", options, predicate, maker));
}
