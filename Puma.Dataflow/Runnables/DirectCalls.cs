namespace Puma.Dataflow.Runnables;

/// <summary>User code that is no more than a delegate which returns at once: a burst calls it in a loop of its own, without a method between.</summary>
internal interface IDirectCall<TIn, TOut>
{
    TOut Invoke(TIn item, CancellationToken cancellationToken);
}

/// <summary>Makes one output of each item.</summary>
internal readonly struct TransformCall<TIn, TOut>(Func<TIn, TOut> transform) : IDirectCall<TIn, TOut>
{
    public TOut Invoke(TIn item, CancellationToken cancellationToken) => transform(item);
}

/// <inheritdoc cref="TransformCall{TIn, TOut}"/>
internal readonly struct CancelableTransformCall<TIn, TOut>(Func<TIn, CancellationToken, TOut> transform) : IDirectCall<TIn, TOut>
{
    public TOut Invoke(TIn item, CancellationToken cancellationToken) => transform(item, cancellationToken);
}

/// <summary>Consumes each item.</summary>
/// <typeparam name="TIn">The type of the items.</typeparam>
/// <typeparam name="TOut">Of the stage: there is no output.</typeparam>
internal readonly struct ActionCall<TIn, TOut>(Action<TIn> action) : IDirectCall<TIn, TOut>
{
    public TOut Invoke(TIn item, CancellationToken cancellationToken)
    {
        action(item);
        return default!;
    }
}
