namespace Puma.Dataflow.Control;

/// <summary>An enumeration of an instance, as callers see it.</summary>
internal interface IRemoteStream<T> : IAsyncDisposable
{
    ValueTask<StreamStep<T>> NextAsync(CancellationToken cancellationToken);
}

/// <summary>A value of an enumeration, or its end.</summary>
internal readonly record struct StreamStep<T>(bool HasValue, T Value);

/// <summary>
/// An enumeration where it lives. Its steps begin on the instance's stream, and go on there after a wait, but a wait does not hold the
/// instance: items, commands and ticks have their turn meanwhile.
/// </summary>
internal sealed class RemoteStream<T> : IRemoteStream<T>
{
    private readonly CancellationTokenSource _ended = new();
    private readonly SynchronizationContext? _steps;
    private readonly IAsyncEnumerator<T> _values;
    private Task _step = Task.CompletedTask;

    /// <param name="start">Starts the enumeration.</param>
    /// <param name="steps">The context of the instance; null for none.</param>
    public RemoteStream(Func<CancellationToken, IAsyncEnumerable<T>> start, SynchronizationContext? steps)
    {
        _steps = steps;
        _values = start(_ended.Token).GetAsyncEnumerator(_ended.Token);
    }

    /// <summary>One step.</summary>
    public static ControlMember<IRemoteStream<T>, NoValue, StreamStep<T>> Next { get; } = new(
        "IAsyncEnumerator.MoveNextAsync", static () => Next!, static (stream, _, _, token) => stream.NextAsync(token))
    { HoldsInstance = false, IsWatched = false };

    /// <summary>Its end.</summary>
    public static ControlMember<IRemoteStream<T>, NoValue, NoValue> End { get; } = new(
        "IAsyncEnumerator.DisposeAsync", static () => End!, static async (stream, _, _, _) =>
        {
            await stream.DisposeAsync().ConfigureAwait(true);
            return default;
        })
    { HoldsInstance = false, IsWatched = false, EndsLease = true };

    // Its awaits keep the context on purpose: the value is taken, and encoded, on the instance's stream.
    public async ValueTask<StreamStep<T>> NextAsync(CancellationToken cancellationToken)
    {
        Task<bool> step = OnSteps(() => _values.MoveNextAsync().AsTask());
        _step = step;
        using (cancellationToken.UnsafeRegister(static state => ((CancellationTokenSource)state!).Cancel(), _ended))
            return await step.ConfigureAwait(true) ? new StreamStep<T>(true, _values.Current) : default;
    }

    public ValueTask DisposeAsync() => new(OnSteps(EndAsync));

    // Its awaits keep the context on purpose: the enumeration ends on the instance's stream.
    private async Task EndAsync()
    {
        try
        {
            await _ended.CancelAsync().ConfigureAwait(true);
        }
        finally
        {
            // An enumerator is not disposed while it moves.
            await _step.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
            await _values.DisposeAsync().ConfigureAwait(true);
        }
    }

    private TTask OnSteps<TTask>(Func<TTask> step)
    {
        SynchronizationContext? before = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(_steps);
        try
        {
            return step();
        }
        finally
        {
            SynchronizationContext.SetSynchronizationContext(before);
        }
    }
}

/// <summary>Reads a stream of an instance; nothing happens before it is enumerated, and each enumeration is one of its own.</summary>
internal sealed class StreamReader<TControl, TArguments, T>(ControlTarget target, ControlStream<TControl, TArguments, T> member, TArguments arguments, CancellationToken callToken) : IAsyncEnumerable<T>
    where TControl : class
{
    public async IAsyncEnumerator<T> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        if (target.IsCalledFromWithin)
            throw target.Failed(member.Name, CommandFailure.NotServed, "its own instance reads it, and would wait for its own stream without end. Call the method itself there, or read it from outside.", null);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(callToken, cancellationToken);
        Remote<IRemoteStream<T>> remote = await AnswerAsync(target.CallAsync(member.Open, arguments, both.Token), cancellationToken).ConfigureAwait(false);
        ControlTarget stream = ((LendingSession)target.Session).TargetOf(remote);
        try
        {
            while (await AnswerAsync(stream.CallAsync(RemoteStream<T>.Next, default, both.Token), cancellationToken).ConfigureAwait(false) is { HasValue: true } step)
                yield return step.Value;
        }
        finally
        {
            Task ending = EndAsync(stream);
            // A reader that has given up waits for nothing, however long the enumeration takes to see it.
            if (both.IsCancellationRequested)
                target.Own(member.Name, ending);
            else
                await ending.ConfigureAwait(false);
        }
    }

    /// <summary>A reader that gives up is told so by his own token.</summary>
    private async ValueTask<TAnswer> AnswerAsync<TAnswer>(ValueTask<TAnswer> call, CancellationToken readerToken)
    {
        try
        {
            return await call.ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (callToken.IsCancellationRequested || readerToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(callToken.IsCancellationRequested ? callToken : readerToken);
        }
    }

    private static async Task EndAsync(ControlTarget stream)
    {
        try
        {
            await stream.CallAsync(RemoteStream<T>.End, default, CancellationToken.None).ConfigureAwait(false);
        }
        catch (CommandFailedException ended) when (ended.Failure is CommandFailure.StageEnded or CommandFailure.NotServed or CommandFailure.ProcessLost)
        {
            // It ended with the instance.
        }
    }
}
