using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>
/// One item on its way through an instance of a pool, with the outputs it has made so far. The instance writes, the stage's stream takes;
/// the outputs are guarded by a lock, everything else is handed over by <see cref="Start"/> and <see cref="IsDone"/>.
/// </summary>
internal sealed class WorkItem<TIn, TOut>(StageNode stage, Action<long> noteFailure, int outputLimit, bool isOneToOne) : Emitter<TOut>, IAttemptOutputs, IThreadPoolWorkItem
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly Queue<TOut> _outputs = [];
    private readonly List<TOut> _held = [];
    private TaskCompletionSource? _room;
    private bool _isHolding;
    private bool _isRefusing;
    private bool _wasRefused;

    private bool _isDone;
    private PoolInstance<TIn, TOut>? _instance;
    private CancellationToken _token;

    // The instance's, like the emits that read it.
    public IItemClock? Clock { private get; set; }

    public TIn Item { get; private set; } = default!;

    public long Number { get; private set; }

    /// <summary>Whether it is no item, but a turn of the instance for its commands and ticks.</summary>
    public bool IsCheckpoint { get; private set; }

    /// <summary>When the burst was taken that it came with.</summary>
    public long Since { get; private set; }

    public bool IsStarted { get; private set; }

    /// <summary>Valid once <see cref="IsDone"/>.</summary>
    public Fate Fate { get; private set; }

    public bool IsDone => Volatile.Read(ref _isDone);

    /// <summary>Takes an item. The stage's stream only.</summary>
    public void Take(TIn item, long number, bool isCheckpoint, long since)
    {
        (Item, Number, IsCheckpoint, IsStarted, Since) = (item, number, isCheckpoint, false, since);
        Volatile.Write(ref _isDone, false);
    }

    /// <summary>Lets go of an item that is settled, and is ready for another. The stage's stream only.</summary>
    public void Forget()
    {
        lock (_gate)
        {
            _outputs.Clear();
            _held.Clear();
            (_room, _isHolding, _isRefusing, _wasRefused) = (null, false, false, false);
        }

        (Item, Fate, Clock) = (default!, default, null);
    }

    public void Start(PoolInstance<TIn, TOut> instance, CancellationToken token)
    {
        (_instance, _token, IsStarted) = (instance, token, true);
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    void IThreadPoolWorkItem.Execute()
    {
        // The thread drops it again when this returns.
        if (_instance!.Flow is { } flow)
            ExecutionContext.Restore(flow);
        stage.Graph.Own(RunAsync());
    }

    private async Task RunAsync()
    {
        Fate fate = IsCheckpoint
            ? await CheckpointAsync().ConfigureAwait(false)
            : await _instance!.Attempts.HandleAsync<TIn, TOut, WorkItem<TIn, TOut>>(_instance.Handler, Item, Number, this, _token).ConfigureAwait(false);
        EndWith(fate);
    }

    /// <summary>Decides the item. By its instance, or by the stage's stream when it never comes to one.</summary>
    public void EndWith(Fate fate)
    {
        IsStarted = true;
        Fate = fate;
        if (fate.Kind == FateKind.Failed)
            noteFailure(Number);
        Volatile.Write(ref _isDone, true);
        stage.Wake();
    }

    private async ValueTask<Fate> CheckpointAsync()
    {
        try
        {
            await _instance!.Control.CheckpointAsync().ConfigureAwait(false);
            return new Fate(FateKind.Delivered);
        }
        catch (Exception error)
        {
            return new Fate(FateKind.Failed, error);
        }
    }

    public override ValueTask EmitAsync(TOut value, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            ThrowIfRefusingLocked();
            if (_isHolding)
            {
                _held.Add(value);
                return default;
            }

            if (_outputs.Count < outputLimit)
            {
                _outputs.Enqueue(value);

                // The one output of an item comes just before its end, which wakes the stream anyway. Any other is passed on at once: its
                // handler may wait for what comes of it.
                if (!isOneToOne)
                    stage.Wake();
                return default;
            }
        }

        return EmitSlowAsync(value, cancellationToken);
    }

    private async ValueTask EmitSlowAsync(TOut value, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task room;
            lock (_gate)
            {
                ThrowIfRefusingLocked();
                if (_outputs.Count < outputLimit)
                {
                    _outputs.Enqueue(value);
                    stage.Wake();
                    return;
                }

                _room ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                room = _room.Task;
            }

            stage.Wake();
            Clock?.Pause();
            try
            {
                await room.WaitAsync(cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                Clock?.Resume();
            }
        }
    }

    private void ThrowIfRefusingLocked()
    {
        if (IsDone)
            throw new InvalidOperationException($"Stage '{stage.Name}' emitted for an item whose handler had returned. Await each EmitAsync within the handler.");
        if (_isRefusing || stage.IsDiscarding)
        {
            _wasRefused = true;
            throw new OperationCanceledException($"Stage '{stage.Name}' gives up this item; nothing can be emitted for it any more.", _token);
        }

        if (Clock?.HasRunOut == true)
            throw ItemTime.RunOut(stage.Name, _token);
    }

    /// <summary>Lets no more output in, and whoever waits go.</summary>
    public void Refuse()
    {
        TaskCompletionSource? room;
        lock (_gate)
        {
            _isRefusing = true;
            room = _room;
            _room = null;
        }

        room?.TrySetResult();
    }

    /// <summary>Shows the next output. The stage's stream only.</summary>
    public bool TryPeek(out TOut value)
    {
        lock (_gate)
            return _outputs.TryPeek(out value!);
    }

    /// <summary>Takes the next output. The stage's stream only.</summary>
    public void Dequeue()
    {
        TaskCompletionSource? room;
        lock (_gate)
        {
            _outputs.Dequeue();
            room = _room;
            _room = null;
        }

        room?.TrySetResult();
    }

    public void Hold()
    {
        lock (_gate)
        {
            _isHolding = true;
            _held.Clear();
        }
    }

    public void DropHeld()
    {
        lock (_gate)
        {
            _isHolding = false;
            _held.Clear();
        }
    }

    public ValueTask PassHeldAsync()
    {
        lock (_gate)
        {
            // The attempt has returned, so nothing more is held than it made: passing it on needs no limit.
            _isHolding = false;
            foreach (TOut value in _held)
                _outputs.Enqueue(value);
            _held.Clear();
        }

        return default;
    }

    public bool TakeRefused()
    {
        lock (_gate)
        {
            bool wasRefused = _wasRefused;
            _wasRefused = false;
            return wasRefused;
        }
    }
}
