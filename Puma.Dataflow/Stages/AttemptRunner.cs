using System.Runtime.CompilerServices;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>
/// Runs user code for one item after another: attempts, back-off, item time-out, and the verdict when it throws.
/// One for each instance; its members are never called concurrently.
/// </summary>
internal sealed class AttemptRunner : IDisposable
{
    private readonly StageNode _stage;
    private readonly StageContext _context;
    private readonly ErrorPolicy _policy;
    private readonly ItemClock? _clock;

    public AttemptRunner(StageNode stage, StageContext context)
    {
        _stage = stage;
        _context = context;
        _policy = stage.Options.ErrorPolicy;
        if (stage.Options.ItemTimeout is { } timeout)
            _clock = new ItemClock(stage, timeout);
    }

    public void Dispose() => _clock?.Dispose();

    /// <summary>Whether each item has one attempt and no limit in time, so that user code can be called just so.</summary>
    public bool IsSimple => _policy.Retries == 0 && _clock is null;

    /// <summary>From here on items have one attempt, as long as <see cref="IsSimple"/> says so. The number of each is the caller's to note in the context.</summary>
    public StageContext BeginSimple()
    {
        _context.Attempt = 1;
        return _context;
    }

    /// <summary>Ends the one attempt at an item.</summary>
    public ValueTask<Fate> FailedAsync(Exception error, IAttemptOutputs outputs, CancellationToken cancellationToken) => new(Threw(error, 1, outputs, cancellationToken));

    /// <summary>Handles one item to its fate; throws nothing.</summary>
    public ValueTask<Fate> HandleAsync<TIn, TOut, TOutputs>(
        ItemHandler<TIn, TOut> handler, TIn item, long number, TOutputs outputs, CancellationToken cancellationToken)
        where TOutputs : Emitter<TOut>, IAttemptOutputs
    {
        _context.ItemNumber = number;
        _context.Attempt = 1;
        if (_policy.Retries > 0 || _clock is not null)
            return HandleWithAttemptsAsync(handler, item, number, outputs, cancellationToken);
        try
        {
            ValueTask handling = handler.HandleAsync(item, outputs, cancellationToken);
            if (!handling.IsCompleted)
                return AwaitAsync(handling, outputs, cancellationToken);
            handling.GetAwaiter().GetResult();
            return new ValueTask<Fate>(Returned(outputs, 1));
        }
        catch (Exception error)
        {
            return new ValueTask<Fate>(Threw(error, 1, outputs, cancellationToken));
        }
    }

    /// <summary>Waits for the end of the one attempt at an item.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<Fate> AwaitAsync(ValueTask handling, IAttemptOutputs outputs, CancellationToken cancellationToken)
    {
        try
        {
            await handling.ConfigureAwait(false);
            return Returned(outputs, 1);
        }
        catch (Exception error)
        {
            return Threw(error, 1, outputs, cancellationToken);
        }
    }

    private async ValueTask<Fate> HandleWithAttemptsAsync<TIn, TOut, TOutputs>(
        ItemHandler<TIn, TOut> handler, TIn item, long number, TOutputs outputs, CancellationToken cancellationToken)
        where TOutputs : Emitter<TOut>, IAttemptOutputs
    {
        bool holds = _policy.Retries > 0 || handler.EmitsLast;
        outputs.Clock = _clock;
        for (int attempt = 1; ; attempt++)
        {
            _context.Attempt = attempt;
            CancellationToken token = _clock?.Start(number, attempt, cancellationToken) ?? cancellationToken;
            Exception? failure = null;
            if (holds)
                outputs.Hold();
            try
            {
                await handler.HandleAsync(item, outputs, token).ConfigureAwait(false);
            }
            catch (Exception error)
            {
                failure = error;
            }

            bool isOverdue = _clock?.Stop() == true;
            if (_clock?.IsLeftBehind == true)
            {
                await _stage.Completion.ConfigureAwait(false);
                return new Fate(FateKind.Discarded, failure, attempt);
            }

            if (isOverdue)
                failure = new TimeoutException($"The handler of '{_stage.Name}' took longer than {_stage.ItemTimeoutName} ({_stage.Options.ItemTimeout}) for item {number}, attempt {attempt}.", failure);
            if (failure is null)
            {
                try
                {
                    if (holds)
                        await outputs.PassHeldAsync().ConfigureAwait(false);
                    return Returned(outputs, attempt);
                }
                catch (Exception error)
                {
                    return Threw(error, attempt, outputs, cancellationToken);
                }
            }

            outputs.DropHeld();
            Fate fate = Threw(failure, attempt, outputs, cancellationToken);
            if (fate.Kind == FateKind.Discarded || attempt > _policy.Retries)
                return fate;
            if (!await WaitForRetryAsync(attempt, cancellationToken).ConfigureAwait(false))
                return new Fate(FateKind.Discarded, failure, attempt);
        }
    }

    /// <returns>False when the item must be given up instead.</returns>
    private async ValueTask<bool> WaitForRetryAsync(int failures, CancellationToken cancellationToken)
    {
        TimeSpan delay = _policy.RetryBackoff.DelayAfter(failures);
        if (delay <= TimeSpan.Zero)
            return !cancellationToken.IsCancellationRequested && !_stage.IsDiscarding;

        // The timer first: whoever sees the wait may move a fake clock at once.
        DateTimeOffset due = _stage.Graph.Time.GetUtcNow() + delay;
        Task waiting = Task.Delay(delay, _stage.Graph.Time, cancellationToken);
        _stage.OnRetryWait(due);
        try
        {
            await waiting.ConfigureAwait(false);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
        finally
        {
            _stage.OnRetryWait(due: null);
        }
    }

    private static Fate Returned(IAttemptOutputs outputs, int attempt) =>
        new(outputs.TakeRefused() ? FateKind.Discarded : FateKind.Delivered, null, attempt);

    private Fate Threw(Exception error, int attempt, IAttemptOutputs outputs, CancellationToken cancellationToken)
    {
        bool wasRefused = outputs.TakeRefused();
        bool isEcho = error is OperationCanceledException || (wasRefused && error.InnerException is OperationCanceledException);

        // An output may be refused a little before the token fires.
        bool isOurs = _stage.IsDiscarding || cancellationToken.IsCancellationRequested || (wasRefused && isEcho);
        if (isOurs)
        {
            // A genuine failure while the stage gives up is worth knowing, but changes nothing.
            if (!isEcho)
                _stage.Graph.AddSecondary(new StageFaultedException(_stage.Name, error, _context.ItemNumber, attempt));
            return new Fate(FateKind.Discarded, error, attempt);
        }

        return new Fate(FateOf(_policy.Verdict), error, attempt);
    }

    /// <summary>The fate of an item that failed for good.</summary>
    public static FateKind FateOf(ErrorVerdict verdict) => verdict switch
    {
        ErrorVerdict.Skip => FateKind.Skipped,
        ErrorVerdict.DeadLetter => FateKind.DeadLettered,
        _ => FateKind.Failed,
    };
}
