using System.Runtime.CompilerServices;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Blocks;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>One execution of a pipeline. All members are safe for any thread, at any time, any number of times.</summary>
public class PipelineRun : IAsyncDisposable
{
    internal PipelineRun(StartedRun run) => Graph = run.Graph;

    internal CompletionGraph Graph { get; }

    /// <summary>Ends when all stages run, or with the failure of the one that could not start.</summary>
    public Task Started => Graph.Started;

    /// <summary>
    /// Ends when everything has: with the report, with one <see cref="StageFaultedException"/>, or as cancelled.
    /// </summary>
    public Task<PipelineReport> Completion => Graph.Completion;

    /// <summary>The same end as <see cref="Completion"/>, but always with the report, also after a fault or a cancellation.</summary>
    public Task<PipelineReport> Report => Graph.Report;

    /// <summary>The state now.</summary>
    public RunState State => Graph.State;

    /// <summary>Takes no more input; everything that was accepted is processed.</summary>
    public void Complete() => Graph.Complete();

    /// <summary>Gives up everything that has not been handled. Also ends a run that is completing or draining after a fault.</summary>
    public void Cancel() => Graph.Cancel(new CancellationToken(canceled: true));

    /// <summary>Faults the run from outside and gives up everything.</summary>
    /// <param name="exception">The reason.</param>
    /// <exception cref="ArgumentNullException"><paramref name="exception"/> is null.</exception>
    public void Fault(Exception exception)
    {
        ArgumentNullException.ThrowIfNull(exception);
        Graph.Fault(exception);
    }

    /// <summary>Completes the run, cancels it if it has not ended at the deadline, and returns its report when it has ended.</summary>
    /// <param name="deadline">How long it may drain; not negative, at most 49 days.</param>
    /// <returns>The report; the task never faults.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="deadline"/> is negative or too long for a timer.</exception>
    public Task<PipelineReport> StopAsync(TimeSpan deadline)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(deadline, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(deadline, TimeLimits.Longest);
        Graph.Stop(deadline);
        return Graph.Report;
    }

    /// <summary>The run at this moment: its state, the numbers of its stages and links, and who waits for whom. After the end, the last numbers.</summary>
    /// <remarks>The counts are read one after another while the run goes on: those of two stages may differ by the items that move meanwhile.</remarks>
    public PipelineSnapshot Snapshot() => Graph.Snapshot();

    /// <summary>The handle of a stage.</summary>
    /// <param name="name">The stage's name.</param>
    /// <exception cref="ArgumentException">There is no such stage.</exception>
    public StageHandle Stage(string name) => new(Find(name));

    /// <summary>The handle of a broadcast, to which branches can be attached while the run goes on.</summary>
    /// <typeparam name="T">The type of its items.</typeparam>
    /// <param name="name">The broadcast's name.</param>
    /// <exception cref="ArgumentException">There is no such stage, it is no broadcast, or its items have another type.</exception>
    public BroadcastHandle<T> Broadcast<T>(string name) => Find(name) switch
    {
        BroadcastStage<T> broadcast => new BroadcastHandle<T>(broadcast),
        BranchableStage other => throw new ArgumentException($"The items of the broadcast '{name}' are of type {other.GetType().GenericTypeArguments[0].Name}, not {typeof(T).Name}.", nameof(name)),
        { } stage => throw new ArgumentException($"Stage '{name}' is a {stage.Kind} stage, not a broadcast.", nameof(name)),
    };

    /// <summary>A proxy of the runnable of a stage, by which it is called wherever it lives. The calls run on the runnable's own stream, between two items and ahead of those that wait.</summary>
    /// <typeparam name="TControl">An interface that the runnable implements; its members return tasks or asynchronous streams.</typeparam>
    /// <param name="stage">The name of the stage.</param>
    /// <param name="instance">Which of its instances, counted from 0; null for the only one, or for all: then a member without a result goes to each of them and ends when all have answered, and any other throws <see cref="InvalidOperationException"/> at its call.</param>
    /// <exception cref="ArgumentNullException"><paramref name="stage"/> is null.</exception>
    /// <exception cref="ArgumentException">There is no such stage, it can have no runnable, or <typeparamref name="TControl"/> is no interface.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such instance.</exception>
    /// <exception cref="InvalidOperationException">No proxy of the interface was generated.</exception>
    /// <remarks>
    /// <para>
    /// A proxy is safe for any thread and for any number of calls at the same time; it needs no disposal. A call waits for the start of the
    /// stage, and for the next child when one was lost. It fails with <see cref="CommandFailedException"/> when the member throws, the stage
    /// has ended, the runnable does not serve the interface, its process is lost, or <see cref="PipelineOptions.CallTimeout"/> is over; with
    /// <see cref="OperationCanceledException"/> as soon as the token of the call fires; with <see cref="InvalidOperationException"/> when its
    /// member has a result and no instance of several is named.
    /// </para>
    /// <para>
    /// A call that a callback of the runnable makes to its own instance runs at once, because it would wait for itself. So does one of a task
    /// that a callback left running, perhaps beside another callback: start such a task in <see cref="Runnable.OnStartAsync"/> or under
    /// <see cref="ExecutionContext.SuppressFlow"/>.
    /// </para>
    /// </remarks>
    public TControl Control<TControl>(string stage, int? instance = null)
        where TControl : class
    {
        ArgumentNullException.ThrowIfNull(stage);
        if (!typeof(TControl).IsInterface)
            throw new ArgumentException($"{typeof(TControl)} is no interface. Name the control interface that the runnable implements.", nameof(TControl));
        return ControlProxies.Make<TControl>(FindTarget(Find(stage), instance, nameof(stage)));
    }

    /// <param name="node">The stage.</param>
    /// <param name="instance">Which of its instances; null for the only one or all.</param>
    /// <param name="parameter">By which parameter the caller named the stage, if by one.</param>
    internal static ControlTarget FindTarget(StageNode node, int? instance, string? parameter)
    {
        if (node is not IControlledStage { Instances: { Count: > 0 } instances })
        {
            throw new ArgumentException(
                node.KeepsLedger
                    ? $"Stage '{node.Name}' is a {node.Kind} stage, which has no runnable to call."
                    : $"Stage '{node.Name}' hosts a foreign block, which is no runnable and takes no calls.",
                parameter);
        }

        if (instance is { } index)
        {
            return index >= 0 && index < instances.Count
                ? instances[index]
                : throw new ArgumentOutOfRangeException(nameof(instance), index, $"Stage '{node.Name}' has no such instance. Its instances are 0 to {instances.Count - 1}.");
        }

        return instances.Count == 1 ? instances[0] : new PoolTarget(node.Name, node.Graph.Logger, instances);
    }

    /// <summary>Cancels the run if it has not ended, and returns when it has, at the latest after the abort time-out. Never throws.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!Graph.Report.IsCompleted)
            Graph.Cancel(new CancellationToken(canceled: true));
        await Graph.Report.ConfigureAwait(false);
        GC.SuppressFinalize(this);
    }

    private StageNode Find(string name, [CallerArgumentExpression(nameof(name))] string? parameter = null)
    {
        IReadOnlyList<StageNode> nodes = Graph.Nodes;
        return nodes.FirstOrDefault(n => n.Name == name)
            ?? throw new ArgumentException($"There is no stage '{name}'. The stages are: {string.Join(", ", nodes.Select(static n => n.Name))}.", parameter);
    }
}

/// <summary>One execution of a pipeline to which items are sent.</summary>
/// <typeparam name="TIn">What it accepts.</typeparam>
public sealed class PipelineRun<TIn> : PipelineRun
{
    private readonly EntryStage<TIn> _entry;

    internal PipelineRun(StartedRun run) : base(run) => _entry = run.Nodes.OfType<EntryStage<TIn>>().Single();

    /// <summary>The entry as a TPL target, for foreign blocks to link to. Completing it ends this entry.</summary>
    public ITargetBlock<TIn> Input => _entry.Block;

    /// <summary>Sends an item; completes when it was accepted.</summary>
    /// <param name="item">The item; from then on it belongs to the pipeline.</param>
    /// <param name="cancellationToken">Ends the wait for a slot; the item is then not accepted.</param>
    /// <exception cref="PipelineClosedException">The run takes no more items.</exception>
    /// <exception cref="PipelineFullException">There is no slot, and the entry's full mode is <see cref="FullMode.Fail"/>.</exception>
    /// <exception cref="TimeoutException">No slot became free within <see cref="StageOptions.SendTimeout"/>.</exception>
    /// <exception cref="OperationCanceledException">The token fired.</exception>
    public ValueTask SendAsync(TIn item, CancellationToken cancellationToken = default) => _entry.Block.SendAsync(item, cancellationToken);

    /// <summary>Sends an item if there is a slot.</summary>
    /// <param name="item">The item.</param>
    /// <returns>False only when there is no slot, or others wait for one.</returns>
    /// <exception cref="PipelineClosedException">The run takes no more items.</exception>
    public bool TrySend(TIn item) => _entry.Block.TrySend(item);

    /// <summary>Opens one of several senders. With <see cref="StageOptions.CompleteWithLastSender"/> the entry completes when the last of them is disposed.</summary>
    public PipelineSender<TIn> OpenSender() => new(_entry);
}

/// <summary>The lease of one of several senders to an entry. Safe for any thread.</summary>
/// <typeparam name="TIn">What the entry accepts.</typeparam>
public sealed class PipelineSender<TIn> : IDisposable
{
    private readonly EntryStage<TIn> _entry;
    private int _isDisposed;

    internal PipelineSender(EntryStage<TIn> entry)
    {
        _entry = entry;
        entry.OpenLease();
    }

    /// <inheritdoc cref="PipelineRun{TIn}.SendAsync"/>
    /// <exception cref="ObjectDisposedException">The lease was disposed.</exception>
    public ValueTask SendAsync(TIn item, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _isDisposed) != 0, this);
        return _entry.Block.SendAsync(item, cancellationToken);
    }

    /// <inheritdoc cref="PipelineRun{TIn}.TrySend"/>
    /// <exception cref="ObjectDisposedException">The lease was disposed.</exception>
    public bool TrySend(TIn item)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _isDisposed) != 0, this);
        return _entry.Block.TrySend(item);
    }

    /// <summary>Ends the lease. What was sent stays sent.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 0)
            _entry.CloseLease();
    }
}

/// <summary>A stage of a run. Safe for any thread.</summary>
public sealed class StageHandle
{
    private readonly StageNode _node;

    internal StageHandle(StageNode node)
    {
        _node = node;
        Status = new StageStatus(node);
    }

    /// <summary>The name of the stage.</summary>
    public string Name => _node.Name;

    /// <summary>The state of the stage.</summary>
    public StageState State => _node.State;

    /// <summary>Why the stage ended; <see cref="EndReason.None"/> while it has not.</summary>
    public EndReason EndReason => _node.EndReason;

    /// <summary>Ends when the stage has ended: faulted with the failure that ended it, cancelled, or completed.</summary>
    public Task Completion => _node.Outcome;

    /// <summary>What the runnables of the stage report, and each change of <see cref="State"/>.</summary>
    public StageStatus Status { get; }

    /// <summary>The ticks of the stage's runnable, of all its instances if it has several.</summary>
    /// <exception cref="ArgumentException">The stage has no runnable.</exception>
    public ITickControl Ticks => ControlProxies.Make<ITickControl>(PipelineRun.FindTarget(_node, instance: null, parameter: null));

    /// <summary>The numbers of the stage now.</summary>
    public StageReport Report() => _node.Report();

    /// <summary>Makes the stage end early, as completed: no further item is handled, and the stages before it are told that nobody wants more.</summary>
    /// <returns>Ends when the stage has ended.</returns>
    public Task FinishAsync()
    {
        _node.RaiseFinish();
        return _node.Completion;
    }
}
