using System.Diagnostics;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>
/// One item on its way through an instance of a pool, with the outputs it has made so far. The instance writes, the stage's stream takes;
/// the outputs are guarded by a lock, everything else is handed over by <see cref="TryStart"/> and <see cref="IsDone"/>.
/// </summary>
internal sealed class WorkItem<TIn, TOut>(StageNode stage, Action<long> noteFailure, int outputLimit, bool isOneToOne) : Emitter<TOut>, IAttemptOutputs
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly Queue<TOut> _outputs = [];
    private readonly List<TOut> _held = [];
    private TaskCompletionSource? _room;
    private bool _wasRefused;

    // Which item it is used for: emits that wait for room may outlast it.
    private int _use;

    // How many do. Written under _gate, read also without it.
    private int _waiting;

    // Whether anything that is guarded by the gate was used for this item. Written under _gate.
    private volatile bool _isTouched;

    // Written under _gate, read also without it.
    private volatile bool _isHolding;
    private volatile bool _isRefusing;

    // The one output of an item that makes one, as the last thing: written before the flag, which is published by a volatile write, so it
    // needs no lock.
    private TOut _single = default!;
    private bool _hasSingle;

    // Whether it has been started or given up: by one of an instance and the stream, whoever is first.
    private int _isDecided;
    private bool _isStarted;
    private bool _isDone;
    private CancellationToken _token;

    // The instance's, like the emits that read it.
    public IItemClock? Clock { private get; set; }

    public TIn Item { get; private set; } = default!;

    public long Number { get; private set; }

    /// <summary>Whether it is no item, but a turn of the instance for its commands and ticks.</summary>
    public bool IsCheckpoint { get; private set; }

    /// <summary>Whether the instance also completes in this turn. Set by the stage's stream, before the instance has it.</summary>
    public bool IsCompletion { get; set; }

    /// <summary>When the burst was taken that it came with.</summary>
    public long Since { get; private set; }

    /// <summary>The instance of its key; negative when any may take it. The stage's stream only.</summary>
    public int Instance { get; set; } = -1;

    public bool IsStarted => Volatile.Read(ref _isStarted);

    /// <summary>Valid once <see cref="IsDone"/>.</summary>
    public Fate Fate { get; private set; } = Fate.Usual;

    public bool IsDone => Volatile.Read(ref _isDone);

    /// <summary>Whether emits wait for room that the code of the item has left behind: it is not settled before them. Looked at when it is done.</summary>
    public bool HasWaitingEmits => _isTouched && Volatile.Read(ref _waiting) != 0;

    /// <summary>Takes an item. The stage's stream only.</summary>
    public void Take(TIn item, long number, bool isCheckpoint, long since)
    {
        Debug.Assert(!_isStarted && _isDecided == 0, "What is taken has been forgotten before.");
        (Item, Number, IsCheckpoint, Since) = (item, number, isCheckpoint, since);
        _isDone = false;
    }

    /// <summary>Lets go of an item that is settled, and is ready for another; until then nothing can be emitted. The stage's stream only.</summary>
    public void Forget()
    {
        if (_isTouched)
        {
            lock (_gate)
            {
                _outputs.Clear();
                _held.Clear();
                (_room, _isHolding, _isRefusing, _wasRefused, _waiting, _use, _isTouched) = (null, false, false, false, 0, _use + 1, false);
            }
        }

        // A write takes the memory away from the other processor: what is mostly the same is written only when it is not.
        if (!Fate.IsUsual)
            Fate = Fate.Usual;
        if (Clock is not null)
            Clock = null;
        (Item, _single, _hasSingle) = (default!, default!, false);
        (_isDecided, _isStarted, _isDone, Instance, IsCompletion) = (0, false, true, -1, false);
    }

    /// <summary>Starts the item for an instance.</summary>
    /// <param name="token">Fires when the instance gives up.</param>
    /// <returns>False when the stream has given it up.</returns>
    public bool TryStart(CancellationToken token)
    {
        if (Interlocked.Exchange(ref _isDecided, 1) != 0)
            return false;
        if (_token != token)
            _token = token; // see Forget
        Volatile.Write(ref _isStarted, true);
        return true;
    }

    /// <summary>Starts the item for an instance before anybody else can decide of it. By who has the stream's baton.</summary>
    public void StartAlone(CancellationToken token) => (_token, _isDecided, _isStarted) = (token, 1, true);

    /// <summary>Takes that back, before anybody else has seen it.</summary>
    public void TakeBackStart() => (_isDecided, _isStarted) = (0, false);

    /// <summary>Gives up an item that no instance has started; none will. The stage's stream only.</summary>
    /// <returns>False when an instance has started it.</returns>
    public bool TryGiveUp() => Interlocked.Exchange(ref _isDecided, 1) == 0;

    /// <summary>Decides the item. By its instance, or by the stage's stream when it never comes to one; whoever is not the stream tells it then.</summary>
    public void EndWith(Fate fate)
    {
        Volatile.Write(ref _isStarted, true);
        Debug.Assert(Fate.IsUsual, "Forget has left it so.");
        if (!fate.IsUsual)
            Fate = fate;
        if (fate.Kind == FateKind.Failed)
            noteFailure(Number);
        Volatile.Write(ref _isDone, true);
    }

    public override ValueTask PassAsync(TOut value, CancellationToken cancellationToken)
    {
        if (!isOneToOne || _isHolding || _isRefusing || Clock is not null || stage.IsDiscarding)
            return EmitAsync(value, cancellationToken);
        _single = value;
        Volatile.Write(ref _hasSingle, true);
        return default;
    }

    public override ValueTask EmitAsync(TOut value, CancellationToken cancellationToken)
    {
        int use;
        lock (_gate)
        {
            _isTouched = true;
            if (IsDone)
                throw ClosedEmitter<TOut>.TooLate(stage);
            ThrowIfRefusingLocked();
            if (_isHolding)
            {
                _held.Add(value);
                return default;
            }

            if (_outputs.Count < outputLimit)
            {
                _outputs.Enqueue(value);

                // The one output of an item comes just before its end, of which the stream learns from the instance, or from the watch in its
                // place. Any other is passed on at once: its handler may wait for what comes of it.
                if (!isOneToOne)
                    stage.Wake();
                return default;
            }

            use = _use;
            _waiting++;
        }

        return EmitSlowAsync(value, use, cancellationToken);
    }

    private async ValueTask EmitSlowAsync(TOut value, int use, CancellationToken cancellationToken)
    {
        try
        {
            while (await WaitForRoomAsync(value, use, cancellationToken).ConfigureAwait(false))
            {
            }
        }
        catch
        {
            lock (_gate)
            {
                if (use == _use)
                    _waiting--;
            }

            stage.Wake();
            throw;
        }
    }

    /// <returns>False when the value has got its place.</returns>
    private async ValueTask<bool> WaitForRoomAsync(TOut value, int use, CancellationToken cancellationToken)
    {
        Task room;
        lock (_gate)
        {
            if (use != _use)
                throw ClosedEmitter<TOut>.TooLate(stage);
            ThrowIfRefusingLocked();
            if (_outputs.Count < outputLimit)
            {
                _outputs.Enqueue(value);
                _waiting--;
                stage.Wake();
                return false;
            }

            _room ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            room = _room.Task;
        }

        stage.Wake();
        Clock?.Pause();
        try
        {
            await room.WaitAsync(cancellationToken).ConfigureAwait(false);
            return true;
        }
        finally
        {
            Clock?.Resume();
        }
    }

    private void ThrowIfRefusingLocked()
    {
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
            _isTouched = _isRefusing = true;
            room = _room;
            _room = null;
        }

        room?.TrySetResult();
    }

    /// <summary>Shows the next output. The stage's stream only.</summary>
    public bool TryPeek(out TOut value)
    {
        if (Volatile.Read(ref _hasSingle))
        {
            value = _single;
            return true;
        }

        value = default!;
        lock (_gate)
            return _outputs.TryPeek(out value!);
    }

    /// <summary>Takes the next output. The stage's stream only.</summary>
    /// <returns>Whether no other can follow.</returns>
    public bool Dequeue()
    {
        if (_hasSingle)
        {
            (_single, _hasSingle) = (default!, false);
            return true;
        }

        TaskCompletionSource? room;
        lock (_gate)
        {
            _outputs.Dequeue();
            room = _room;
            _room = null;
        }

        room?.TrySetResult();
        return false;
    }

    public void Hold()
    {
        lock (_gate)
        {
            _isTouched = _isHolding = true;
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
        if (!_isTouched)
            return false;
        lock (_gate)
        {
            bool wasRefused = _wasRefused;
            _wasRefused = false;
            return wasRefused;
        }
    }
}
