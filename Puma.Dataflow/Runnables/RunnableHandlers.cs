using Puma.Dataflow.Control;

namespace Puma.Dataflow.Runnables;

/// <summary>Runs a <see cref="Runnable{TIn, TOut}"/>.</summary>
internal sealed class RunnableHandler<TIn, TOut>(Runnable<TIn, TOut> runnable) : ItemHandler<TIn, TOut>
{
    public override ValueTask StartAsync(StageContext context, Emitter<TOut> output, CancellationToken cancellationToken)
    {
        runnable.Output = output;
        return runnable.StartAsync(context, cancellationToken);
    }

    public override ValueTask HandleAsync(TIn item, Emitter<TOut> output, CancellationToken cancellationToken) =>
        runnable.HandleAsync(item, cancellationToken);

    public override bool HasCommands => true;

    public override ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken) =>
        command.RunAsync(instance, runnable, cancellationToken);

    public override ValueTask TickAsync(CancellationToken cancellationToken) => runnable.TickAsync(cancellationToken);

    public override ValueTask CompletedAsync(CancellationToken cancellationToken) => runnable.CompletedAsync(cancellationToken);

    public override ValueTask EndAsync(RunState outcome, Exception? cause) => runnable.EndAsync(outcome, cause);

    public override void Redirect(Emitter<TOut> output) => runnable.Output = output;
}

/// <summary>Runs a <see cref="SinkRunnable{TIn}"/>.</summary>
internal sealed class SinkHandler<TIn>(SinkRunnable<TIn> runnable) : ItemHandler<TIn, NoOutput>
{
    public override ValueTask StartAsync(StageContext context, Emitter<NoOutput> output, CancellationToken cancellationToken) =>
        runnable.StartAsync(context, cancellationToken);

    public override ValueTask HandleAsync(TIn item, Emitter<NoOutput> output, CancellationToken cancellationToken) =>
        runnable.HandleAsync(item, cancellationToken);

    public override bool HasCommands => true;

    public override ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken) =>
        command.RunAsync(instance, runnable, cancellationToken);

    public override ValueTask TickAsync(CancellationToken cancellationToken) => runnable.TickAsync(cancellationToken);

    public override ValueTask CompletedAsync(CancellationToken cancellationToken) => runnable.CompletedAsync(cancellationToken);

    public override ValueTask EndAsync(RunState outcome, Exception? cause) => runnable.EndAsync(outcome, cause);
}

/// <summary>The output type of a stage without outputs; nobody can make one.</summary>
internal sealed class NoOutput
{
    private NoOutput() { }
}

/// <summary>Runs a <see cref="SourceRunnable{TOut}"/>.</summary>
internal sealed class SourceRunnableBody<TOut>(SourceRunnable<TOut> runnable) : SourceBody<TOut>
{
    public override ValueTask StartAsync(StageContext context, Emitter<TOut> output, CancellationToken cancellationToken)
    {
        runnable.Output = output;
        return runnable.StartAsync(context, cancellationToken);
    }

    public override ValueTask ProduceAsync(Emitter<TOut> output, CancellationToken stopToken) => runnable.BodyAsync(stopToken);

    public override ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken) =>
        command.RunAsync(instance, runnable, cancellationToken);

    public override ValueTask TickAsync(CancellationToken cancellationToken) => runnable.TickAsync(cancellationToken);

    public override ValueTask CompletedAsync(CancellationToken cancellationToken) => runnable.CompletedAsync(cancellationToken);

    public override ValueTask EndAsync(RunState outcome, Exception? cause) => runnable.EndAsync(outcome, cause);
}

/// <summary>Calls a <see cref="Runnable"/> that has neither a handler nor a body, on the thread of its instance.</summary>
internal sealed class RunnableCode(Runnable runnable, Func<Func<ValueTask>, ValueTask> call) : IControlledCode
{
    public ValueTask RunCommandAsync(Command command, InstanceControl instance, CancellationToken cancellationToken) =>
        call(() => command.RunAsync(instance, runnable, cancellationToken));

    public ValueTask TickAsync(CancellationToken cancellationToken) => call(() => runnable.TickAsync(cancellationToken));
}
