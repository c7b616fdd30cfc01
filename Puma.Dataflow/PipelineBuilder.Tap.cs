using System.Runtime.CompilerServices;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Runnables;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

public partial class PipelineBuilder<TIn, T>
{
    /// <summary>Looks at each item and passes it on unchanged.</summary>
    /// <param name="action">The delegate.</param>
    /// <param name="options">The settings of the stage.</param>
    /// <remarks>
    /// Emits: each item unchanged, after the action has returned. Waits: while the next stage has no slot.
    /// Completes: when the input has ended and every item was accepted. Faults: when the action throws and the error policy does not absorb it.
    /// </remarks>
    /// <exception cref="ArgumentNullException">The delegate is null.</exception>
    /// <exception cref="InvalidOperationException">The builder was continued before.</exception>
    [OverloadResolutionPriority(8)]
    public PipelineBuilder<TIn, T> Tap(Func<T, CancellationToken, ValueTask> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) => new AsyncTapHandler<T>((Func<T, CancellationToken, ValueTask>)code!));
    }

    /// <inheritdoc cref="Tap(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(7)]
    public PipelineBuilder<TIn, T> Tap(Func<T, CancellationToken, Task> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, Task>)code!;
            return new AsyncTapHandler<T>((item, token) => new ValueTask(user(item, token)));
        });
    }

    /// <inheritdoc cref="Tap(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    [OverloadResolutionPriority(6)]
    public PipelineBuilder<TIn, T> Tap<TIgnored>(Func<T, CancellationToken, ValueTask<TIgnored>> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, ValueTask<TIgnored>>)code!;
            return new AsyncTapHandler<T>(async (item, token) => await user(item, token).ConfigureAwait(false));
        });
    }

    /// <inheritdoc cref="Tap(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(5)]
    public PipelineBuilder<TIn, T> Tap(Func<T, ValueTask> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, ValueTask>)code!;
            return new AsyncTapHandler<T>((item, _) => user(item));
        });
    }

    /// <inheritdoc cref="Tap(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(4)]
    public PipelineBuilder<TIn, T> Tap(Func<T, Task> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, Task>)code!;
            return new AsyncTapHandler<T>((item, _) => new ValueTask(user(item)));
        });
    }

    /// <inheritdoc cref="Tap(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    [OverloadResolutionPriority(3)]
    public PipelineBuilder<TIn, T> Tap<TIgnored>(Func<T, ValueTask<TIgnored>> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, ValueTask<TIgnored>>)code!;
            return new AsyncTapHandler<T>(async (item, _) => await user(item).ConfigureAwait(false));
        });
    }

    /// <inheritdoc cref="Tap(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    /// <typeparam name="TIgnored">The type of the result, which is ignored.</typeparam>
    [OverloadResolutionPriority(2)]
    public PipelineBuilder<TIn, T> Tap<TIgnored>(Func<T, TIgnored> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, TIgnored>)code!;
            return new TapHandler<T>((item, _) => user(item));
        });
    }

    /// <inheritdoc cref="Tap(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    /// <typeparam name="TIgnored">What the delegate returns; it is dropped, so <c>Build()</c> refuses what ought to be awaited.</typeparam>
    [OverloadResolutionPriority(1)]
    public PipelineBuilder<TIn, T> Tap<TIgnored>(Func<T, CancellationToken, TIgnored> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Func<T, CancellationToken, TIgnored>)code!;
            return new TapHandler<T>((item, token) => user(item, token));
        });
    }

    /// <inheritdoc cref="Tap(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    [OverloadResolutionPriority(-1)]
    public PipelineBuilder<TIn, T> Tap(Action<T, CancellationToken> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) => new TapHandler<T>((Action<T, CancellationToken>)code!));
    }

    /// <inheritdoc cref="Tap(Func{T, CancellationToken, ValueTask}, StageOptions?)"/>
    public PipelineBuilder<TIn, T> Tap(Action<T> action, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(action);
        return AddTap(options, action, static (code, _) =>
        {
            var user = (Action<T>)code!;
            return new TapHandler<T>((item, _) => user(item));
        });
    }

    private PipelineBuilder<TIn, T> AddTap(StageOptions? options, Delegate action, CodeMaker<ItemHandler<T, T>> maker)
    {
        StageDefinition stage = Items("tap", options, action, maker, isOneToOne: true);
        DroppedResults.Check(action, stage.Problems);
        return Continue<T>(stage);
    }
}
