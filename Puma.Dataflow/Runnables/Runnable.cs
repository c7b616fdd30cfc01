using Puma.Dataflow.Runnables;

namespace Puma.Dataflow;

/// <summary>
/// A task of an application, written once and run where its stage is placed. One runnable is one execution stream:
/// its callbacks never run concurrently.
/// </summary>
/// <remarks>It is made by a factory where it runs, so its fields live only there. Exceptions from callbacks fault the stage, or follow its error policy.</remarks>
public abstract class Runnable
{
    private StageContext? _context;

    private protected Runnable() { }

    /// <summary>What the runnable knows of its stage.</summary>
    /// <exception cref="InvalidOperationException">The runnable has not been started.</exception>
    protected StageContext Context => _context ?? throw new InvalidOperationException($"{GetType().Name} has not been started: use Context from OnStartAsync on, not in the constructor.");

    /// <summary>The context; null before the runnable was started.</summary>
    internal StageContext? StartedContext => _context;

    /// <inheritdoc cref="StageContext.ReportStatus{T}"/>
    /// <exception cref="InvalidOperationException">The runnable has not been started.</exception>
    protected void ReportStatus<T>(T value)
        where T : notnull =>
        Context.ReportStatus(value);

    /// <summary>Runs once, before the first item.</summary>
    /// <param name="cancellationToken">Fires when the stage must give up.</param>
    protected virtual ValueTask OnStartAsync(CancellationToken cancellationToken) => default;

    /// <summary>Runs at each tick (<see cref="StageOptions.TickInterval"/>), between two items; in a source at each emit and while it waits there.</summary>
    /// <param name="cancellationToken">Fires when the stage must give up.</param>
    protected virtual ValueTask OnTickAsync(CancellationToken cancellationToken) => default;

    /// <summary>Runs once when all input was handled, or when the body has returned; may still emit. Not called when the stage failed or gave up.</summary>
    /// <param name="cancellationToken">Fires when the stage must give up.</param>
    protected virtual ValueTask OnCompletedAsync(CancellationToken cancellationToken) => default;

    /// <summary>Runs once at the very end of each started instance, after its last other callback has returned.</summary>
    /// <param name="outcome">The outcome of the run as far as it is known here: Completed, Canceled or Faulted.</param>
    /// <param name="cause">What faulted the run or the input; otherwise null.</param>
    /// <remarks>An exception from here is a secondary error.</remarks>
    protected virtual ValueTask OnEndAsync(RunState outcome, Exception? cause) => default;

    internal ValueTask StartAsync(StageContext context, CancellationToken cancellationToken)
    {
        if (_context is not null)
            throw new InvalidOperationException($"{GetType().Name} has been started before, by stage '{_context.StageName}'. A runnable is one stream of one stage of one run: a factory must return a new one at each call.");
        _context = context;
        return OnStartAsync(cancellationToken);
    }

    internal ValueTask TickAsync(CancellationToken cancellationToken) => OnTickAsync(cancellationToken);

    internal ValueTask CompletedAsync(CancellationToken cancellationToken) => OnCompletedAsync(cancellationToken);

    internal ValueTask EndAsync(RunState outcome, Exception? cause) => OnEndAsync(outcome, cause);

    private protected static InvalidOperationException NotStarted(Runnable runnable) =>
        new($"{runnable.GetType().Name} has not been started: emit from OnStartAsync on, not in the constructor.");
}

/// <summary>A runnable that handles items of one type and emits values of another, any number for each item.</summary>
/// <typeparam name="TIn">What it handles.</typeparam>
/// <typeparam name="TOut">What it emits.</typeparam>
public abstract class Runnable<TIn, TOut> : Runnable
{
    internal Emitter<TOut>? Output { get; set; }

    /// <summary>Handles one item.</summary>
    /// <param name="item">The item.</param>
    /// <param name="cancellationToken">Fires when the item must be given up, also by <see cref="StageOptions.ItemTimeout"/>.</param>
    protected abstract ValueTask OnItemAsync(TIn item, CancellationToken cancellationToken);

    /// <summary>Hands a value to the next stage; completes when it was accepted. Await it before the next one.</summary>
    /// <param name="value">The value; from here on it belongs to the pipeline.</param>
    /// <param name="cancellationToken">Ends the wait for a slot.</param>
    /// <exception cref="OperationCanceledException">The stage must give up, or the token fired.</exception>
    protected ValueTask EmitAsync(TOut value, CancellationToken cancellationToken = default) =>
        (Output ?? throw NotStarted(this)).EmitAsync(value, cancellationToken);

    internal ValueTask HandleAsync(TIn item, CancellationToken cancellationToken) => OnItemAsync(item, cancellationToken);
}

/// <summary>A runnable that handles items and emits nothing.</summary>
/// <typeparam name="TIn">What it handles.</typeparam>
public abstract class SinkRunnable<TIn> : Runnable
{
    /// <summary>Handles one item.</summary>
    /// <param name="item">The item.</param>
    /// <param name="cancellationToken">Fires when the item must be given up, also by <see cref="StageOptions.ItemTimeout"/>.</param>
    protected abstract ValueTask OnItemAsync(TIn item, CancellationToken cancellationToken);

    internal ValueTask HandleAsync(TIn item, CancellationToken cancellationToken) => OnItemAsync(item, cancellationToken);
}

/// <summary>A runnable that emits values of its own accord.</summary>
/// <typeparam name="TOut">What it emits.</typeparam>
public abstract class SourceRunnable<TOut> : Runnable
{
    internal Emitter<TOut>? Output { get; set; }

    /// <summary>Emits values until there are no more or the token fires. Returning ends the source.</summary>
    /// <param name="stopToken">Fires when the run takes no more input (it may still emit what it has) and when it must give up.</param>
    protected abstract ValueTask ProduceAsync(CancellationToken stopToken);

    /// <summary>Hands a value to the next stage; completes when it was accepted. Await it before the next one. Commands and ticks run here.</summary>
    /// <param name="value">The value; from here on it belongs to the pipeline.</param>
    /// <param name="cancellationToken">Ends the wait for a slot.</param>
    /// <exception cref="OperationCanceledException">The stage must give up, or the token fired.</exception>
    protected ValueTask EmitAsync(TOut value, CancellationToken cancellationToken = default) =>
        (Output ?? throw NotStarted(this)).EmitAsync(value, cancellationToken);

    /// <summary>Waits until a command or a tick has run; they run here. For <see cref="ProduceAsync"/> only. Await it before anything else.</summary>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="InvalidOperationException">A command or a tick calls it, which would wait for itself; or the source has not started.</exception>
    /// <exception cref="OperationCanceledException">The source is to stop, or the token fired.</exception>
    protected ValueTask WaitForControlAsync(CancellationToken cancellationToken = default) =>
        BodyWait.ForControlAsync(Body, cancellationToken);

    /// <summary>Waits for a time, by the clock of <see cref="StageContext.TimeProvider"/>. Commands and ticks run meanwhile, unless one of them calls it: then nothing else does. Await it before anything else.</summary>
    /// <param name="delay">The time; not negative, at most 49 days.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="delay"/> is negative or too long for a timer.</exception>
    /// <exception cref="InvalidOperationException">The source has not started.</exception>
    /// <exception cref="OperationCanceledException">The token fired; or the source is to stop, unless a command or a tick waits.</exception>
    protected ValueTask DelayAsync(TimeSpan delay, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(delay, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(delay, TimeLimits.Longest);
        return BodyWait.ForAsync(Body, Context.TimeProvider, delay, cancellationToken);
    }

    private IBodyStream Body => (Output ?? throw NotStarted(this)).Body ?? throw new InvalidOperationException($"{GetType().Name} waits outside of a stage.");

    internal ValueTask BodyAsync(CancellationToken stopToken) => ProduceAsync(stopToken);
}

/// <summary>A runnable without items: it lives from the start of the run to its end and is driven by ticks and commands.</summary>
public abstract class CommandRunnable : Runnable
{
}
