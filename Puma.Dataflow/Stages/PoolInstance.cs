using System.Diagnostics;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>One instance of a pool. Belongs to the stage's stream, which hands it over with each <see cref="WorkItem{TIn, TOut}.Start"/>.</summary>
internal sealed class PoolInstance<TIn, TOut> : IDisposable
{
    private readonly CancellationTokenSource _source;
    private readonly StageContext _context;

    public PoolInstance(ItemHandler<TIn, TOut> handler, InstanceControl control, StageContext context, AttemptRunner attempts, CancellationToken discardToken)
    {
        (Handler, Control, _context, Attempts) = (handler, control, context, attempts);
        _source = CancellationTokenSource.CreateLinkedTokenSource(discardToken);
    }

    public ItemHandler<TIn, TOut> Handler { get; }

    public InstanceControl Control { get; }

    public AttemptRunner Attempts { get; }

    public CancellationToken Token => _source.Token;

    /// <summary>The flow that all its work runs in, by which its own calls are known, and its trace goes on; null when there is neither.</summary>
    public ExecutionContext? Flow { get; private set; }

    public WorkItem<TIn, TOut>? Current { get; set; }

    /// <summary>The items of its keys.</summary>
    public Queue<WorkItem<TIn, TOut>> Waiting { get; } = [];

    /// <summary>Whether commands or a tick wait for it.</summary>
    public bool IsCheckpointDue { get; set; }

    /// <summary>Starts the user code.</summary>
    public async ValueTask StartAsync(Emitter<TOut> output, CancellationToken discardToken)
    {
        Control.Lane.Enter();
        await Handler.StartAsync(_context, output, discardToken).ConfigureAwait(false);
        Control.Begin(Handler, _context, Token);
        if (Handler.HasCommands)
            Control.Lane.Enter();
        if (Handler.HasCommands || Activity.Current is not null)
            Flow = ExecutionContext.Capture();
    }

    /// <summary>Tells the user code that its input has ended.</summary>
    public async ValueTask CompletedAsync(CancellationToken discardToken)
    {
        Control.Lane.Enter();
        await Handler.CompletedAsync(discardToken).ConfigureAwait(false);
    }

    public void Cancel(StageNode stage) => stage.Graph.Own(_source.CancelAsync());

    public void Dispose()
    {
        _context.Ticks.End();
        Attempts.Dispose();
        Handler.Dispose();
        _source.Dispose();
    }
}
