using System.Runtime.CompilerServices;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

public partial class PipelineBuilder<TIn, T>
{
    /// <summary>Consumes each item.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: nothing. Waits: never, but for the action.
    /// Completes: when the input has ended and the last action has returned. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(8)]
    public PipelineEnd<TIn> ForEach(Func<T, CancellationToken, ValueTask> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) => new AsyncForEachHandler<T>((Func<T, CancellationToken, ValueTask>)code!));
    }

    /// <inheritdoc cref="ForEach(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(7)]
    public PipelineEnd<TIn> ForEach(Func<T, CancellationToken, Task> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, Task>)code!;
            return new AsyncForEachHandler<T>((item, token) => new ValueTask(user(item, token)));
        });
    }

    /// <inheritdoc cref="ForEach(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    [OverloadResolutionPriority(6)]
    public PipelineEnd<TIn> ForEach<TIgnored>(Func<T, CancellationToken, ValueTask<TIgnored>> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, ValueTask<TIgnored>>)code!;
            return new AsyncForEachHandler<T>(async (item, token) => await user(item, token).ConfigureAwait(false));
        });
    }

    /// <inheritdoc cref="ForEach(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(5)]
    public PipelineEnd<TIn> ForEach(Func<T, ValueTask> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, ValueTask>)code!;
            return new AsyncForEachHandler<T>((item, _) => user(item));
        });
    }

    /// <inheritdoc cref="ForEach(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(4)]
    public PipelineEnd<TIn> ForEach(Func<T, Task> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, Task>)code!;
            return new AsyncForEachHandler<T>((item, _) => new ValueTask(user(item)));
        });
    }

    /// <inheritdoc cref="ForEach(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    [OverloadResolutionPriority(3)]
    public PipelineEnd<TIn> ForEach<TIgnored>(Func<T, ValueTask<TIgnored>> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, ValueTask<TIgnored>>)code!;
            return new AsyncForEachHandler<T>(async (item, _) => await user(item).ConfigureAwait(false));
        });
    }

    /// <inheritdoc cref="ForEach(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    [OverloadResolutionPriority(2)]
    public PipelineEnd<TIn> ForEach<TIgnored>(Func<T, TIgnored> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, TIgnored>)code!;
            return new ForEachHandler<T>((item, _) => user(item));
        });
    }

    /// <inheritdoc cref="ForEach(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    /// <typeparam name="TIgnored">What the delegate returns; it is dropped, so <c>Build()</c> refuses what ought to be awaited.</typeparam>
    [OverloadResolutionPriority(1)]
    public PipelineEnd<TIn> ForEach<TIgnored>(Func<T, CancellationToken, TIgnored> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, TIgnored>)code!;
            return new ForEachHandler<T>((item, token) => user(item, token));
        });
    }

    /// <inheritdoc cref="ForEach(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(-1)]
    public PipelineEnd<TIn> ForEach(Action<T, CancellationToken> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) => new ForEachHandler<T>((Action<T, CancellationToken>)code!));
    }

    /// <inheritdoc cref="ForEach(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    public PipelineEnd<TIn> ForEach(Action<T> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddForEach(options, action, static (code, _) =>
        {
            var user = (Action<T>)code!;
            return new ForEachHandler<T>((item, _) => user(item));
        });
    }

    private PipelineEnd<TIn> AddForEach(StageOptions? options, Delegate action, CodeMaker<ItemHandler<T, NoOutput>> maker)
    {
        StageDefinition stage = Items("for-each", options, action, maker);
        DroppedResults.Check(action, stage.Problems);
        return EndWith(stage);
    }
}
