using Puma.Dataflow.Control;

namespace Puma.Dataflow.Runnables;

/// <summary>The user code of one instance of a stage that handles items: a delegate or a runnable. Its members are never called concurrently.</summary>
internal abstract class ItemHandler<TIn, TOut> : IControlledCode, IDisposable
{
    /// <summary>Whether it emits at most once for an item, as the last thing it does: an output that comes too late can then be kept back.</summary>
    public virtual bool EmitsLast => false;

    public virtual ValueTask StartAsync(StageContext context, Emitter<TOut> output, CancellationToken cancellationToken) => default;

    public abstract ValueTask HandleAsync(TIn item, Emitter<TOut> output, CancellationToken cancellationToken);

    /// <summary>Whether it serves commands.</summary>
    public virtual bool HasCommands => false;

    public virtual ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken)
    {
        command.Refuse(CommandRefusal.NoRunnable);
        return default;
    }

    public virtual ValueTask TickAsync(CancellationToken cancellationToken) => default;

    public virtual ValueTask CompletedAsync(CancellationToken cancellationToken) => default;

    public virtual ValueTask EndAsync(RunState outcome, Exception? cause) => default;

    /// <summary>Frees what it holds beside the user code, when that has returned for the last time; also when it was never started or was left behind meanwhile.</summary>
    public virtual void Dispose() { }

    /// <summary>Where outputs go from here on; a pool gives each item its own place.</summary>
    public virtual void Redirect(Emitter<TOut> output) { }
}

/// <summary>The user code of a stage without inputs.</summary>
internal abstract class SourceBody<TOut> : IControlledCode, IDisposable
{
    public virtual ValueTask StartAsync(StageContext context, Emitter<TOut> output, CancellationToken cancellationToken) => default;

    /// <summary>Emits until there is no more, or until the token asks it to end.</summary>
    public abstract ValueTask ProduceAsync(Emitter<TOut> output, CancellationToken stopToken);

    public virtual ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken)
    {
        command.Refuse(CommandRefusal.NoRunnable);
        return default;
    }

    public virtual ValueTask TickAsync(CancellationToken cancellationToken) => default;

    public virtual ValueTask CompletedAsync(CancellationToken cancellationToken) => default;

    public virtual ValueTask EndAsync(RunState outcome, Exception? cause) => default;

    /// <inheritdoc cref="ItemHandler{TIn, TOut}.Dispose"/>
    public virtual void Dispose() { }
}
