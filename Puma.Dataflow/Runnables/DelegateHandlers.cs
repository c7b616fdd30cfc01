namespace Puma.Dataflow.Runnables;

/// <summary>One output for each item, made synchronously.</summary>
internal sealed class TransformHandler<TIn, TOut>(Func<TIn, CancellationToken, TOut> transform) : ItemHandler<TIn, TOut>
{
    public Func<TIn, CancellationToken, TOut> Transform => transform;

    public override bool EmitsLast => true;

    public override ValueTask HandleAsync(TIn item, Emitter<TOut> output, CancellationToken cancellationToken) =>
        output.PassAsync(transform(item, cancellationToken), cancellationToken);
}

/// <summary>One output for each item.</summary>
internal sealed class AsyncTransformHandler<TIn, TOut>(Func<TIn, CancellationToken, ValueTask<TOut>> transform) : ItemHandler<TIn, TOut>
{
    public override bool EmitsLast => true;

    public override ValueTask HandleAsync(TIn item, Emitter<TOut> output, CancellationToken cancellationToken)
    {
        ValueTask<TOut> result = transform(item, cancellationToken);
        return result.IsCompletedSuccessfully ? output.PassAsync(result.Result, cancellationToken) : AwaitAsync(result, output, cancellationToken);
    }

    private static async ValueTask AwaitAsync(ValueTask<TOut> result, Emitter<TOut> output, CancellationToken cancellationToken) =>
        await output.PassAsync(await result.ConfigureAwait(false), cancellationToken).ConfigureAwait(false);
}

/// <summary>Any number of outputs for each item.</summary>
internal sealed class ManyHandler<TIn, TOut>(Func<TIn, CancellationToken, IEnumerable<TOut>> transform) : ItemHandler<TIn, TOut>
{
    public override async ValueTask HandleAsync(TIn item, Emitter<TOut> output, CancellationToken cancellationToken)
    {
        foreach (TOut value in transform(item, cancellationToken) ?? [])
        {
            cancellationToken.ThrowIfCancellationRequested();

            // Keeps the context: with a thread of its own, the stage reads the sequence there.
            await output.PassAsync(value, cancellationToken).ConfigureAwait(true);
        }
    }
}

/// <summary>Any number of outputs for each item, passed on as they come.</summary>
internal sealed class AsyncManyHandler<TIn, TOut>(Func<TIn, CancellationToken, IAsyncEnumerable<TOut>> transform) : ItemHandler<TIn, TOut>
{
    public override async ValueTask HandleAsync(TIn item, Emitter<TOut> output, CancellationToken cancellationToken)
    {
        // Keeps the context: with a thread of its own, the stage reads the sequence there.
        await foreach (TOut value in transform(item, cancellationToken).WithCancellation(cancellationToken).ConfigureAwait(true))
            await output.PassAsync(value, cancellationToken).ConfigureAwait(true);
    }
}

/// <summary>Passes on the items that satisfy a predicate.</summary>
internal sealed class WhereHandler<T>(Func<T, CancellationToken, ValueTask<bool>> predicate) : ItemHandler<T, T>
{
    public override bool EmitsLast => true;

    public override ValueTask HandleAsync(T item, Emitter<T> output, CancellationToken cancellationToken)
    {
        ValueTask<bool> verdict = predicate(item, cancellationToken);
        if (!verdict.IsCompletedSuccessfully)
            return AwaitAsync(verdict, item, output, cancellationToken);
        return verdict.Result ? output.PassAsync(item, cancellationToken) : default;
    }

    private static async ValueTask AwaitAsync(ValueTask<bool> verdict, T item, Emitter<T> output, CancellationToken cancellationToken)
    {
        if (await verdict.ConfigureAwait(false))
            await output.PassAsync(item, cancellationToken).ConfigureAwait(false);
    }
}

/// <summary>Passes on the items that are of a type.</summary>
internal sealed class OfTypeHandler<TIn, TOut> : ItemHandler<TIn, TOut>
{
    public override bool EmitsLast => true;

    public override ValueTask HandleAsync(TIn item, Emitter<TOut> output, CancellationToken cancellationToken) =>
        item is TOut value ? output.PassAsync(value, cancellationToken) : default;
}

/// <summary>Looks at each item, synchronously, and passes it on.</summary>
internal sealed class TapHandler<T>(Action<T, CancellationToken> action) : ItemHandler<T, T>
{
    public override bool EmitsLast => true;

    public override ValueTask HandleAsync(T item, Emitter<T> output, CancellationToken cancellationToken)
    {
        action(item, cancellationToken);
        return output.PassAsync(item, cancellationToken);
    }
}

/// <summary>Looks at each item and passes it on.</summary>
internal sealed class AsyncTapHandler<T>(Func<T, CancellationToken, ValueTask> action) : ItemHandler<T, T>
{
    public override bool EmitsLast => true;

    public override ValueTask HandleAsync(T item, Emitter<T> output, CancellationToken cancellationToken)
    {
        ValueTask looking = action(item, cancellationToken);
        if (!looking.IsCompletedSuccessfully)
            return AwaitAsync(looking, item, output, cancellationToken);
        looking.GetAwaiter().GetResult();
        return output.PassAsync(item, cancellationToken);
    }

    private static async ValueTask AwaitAsync(ValueTask looking, T item, Emitter<T> output, CancellationToken cancellationToken)
    {
        await looking.ConfigureAwait(false);
        await output.PassAsync(item, cancellationToken).ConfigureAwait(false);
    }
}

/// <summary>Consumes each item, synchronously.</summary>
internal sealed class ForEachHandler<T>(Action<T, CancellationToken> action) : ItemHandler<T, NoOutput>
{
    public Action<T, CancellationToken> Action => action;

    public override ValueTask HandleAsync(T item, Emitter<NoOutput> output, CancellationToken cancellationToken)
    {
        action(item, cancellationToken);
        return default;
    }
}

/// <summary>Consumes each item.</summary>
internal sealed class AsyncForEachHandler<T>(Func<T, CancellationToken, ValueTask> action) : ItemHandler<T, NoOutput>
{
    public override ValueTask HandleAsync(T item, Emitter<NoOutput> output, CancellationToken cancellationToken) => action(item, cancellationToken);
}
