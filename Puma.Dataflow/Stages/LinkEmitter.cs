using System.Runtime.CompilerServices;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>Writes outputs of user code straight into a link. Belongs to the stage's own stream.</summary>
internal class LinkEmitter<T>(StageNode stage, Link<T> link) : Emitter<T>, IAttemptOutputs
{
    private List<T>? _held;
    private bool _isHolding;
    private bool _wasRefused;

    // 1 while a value is on its way: user code that does not await its emits must not get into its own.
    private int _isEmitting;

    // Written by the stream, read by emits.
    private volatile bool _isRetired;

    public override bool IsStopping => stage.IsStopping;

    public override int Room => link.IsShut ? 0 : link.Capacity - link.SlotsHeld;

    /// <exception cref="InvalidOperationException">Another emit has not returned.</exception>
    public override ValueTask EmitAsync(T value, CancellationToken cancellationToken)
    {
        if (Interlocked.Exchange(ref _isEmitting, 1) != 0)
            throw _isRetired ? OutsideOfCallbacks() : new InvalidOperationException($"Stage '{stage.Name}' emits while another of its emits has not returned. Await each EmitAsync before the next one.");
        if (_isHolding)
            (_held ??= []).Add(value);
        else if (Clock?.HasRunOut == true || stage.IsDiscarding || !link.TryWrite(value))
            return EmitSlowAsync(value, cancellationToken);
        Volatile.Write(ref _isEmitting, 0);
        return default;
    }

    public override ValueTask PassAsync(T value, CancellationToken cancellationToken) =>
        !_isHolding && Clock is null && !stage.IsDiscarding && link.TryWrite(value) ? default : EmitAsync(value, cancellationToken);

    public IItemClock? Clock { private get; set; }

    public void Hold()
    {
        _isHolding = true;
        _held?.Clear();
    }

    public void DropHeld()
    {
        _isHolding = false;
        _held?.Clear();
    }

    public async ValueTask PassHeldAsync()
    {
        _isHolding = false;
        foreach (T value in _held ?? [])
            await EmitAsync(value, default).ConfigureAwait(false);
        _held?.Clear();
    }

    public bool TakeRefused()
    {
        bool wasRefused = _wasRefused;
        _wasRefused = false;
        return wasRefused;
    }

    /// <summary>Whether something is to run while an emit waits for a slot.</summary>
    public virtual bool NeedsCheckpoint => false;

    /// <summary>Runs that.</summary>
    protected virtual ValueTask CheckpointAsync() => default;

    /// <summary>Lets no emit in any more, and returns when none is on its way. The stage's own stream only.</summary>
    public async ValueTask RetireAsync()
    {
        _isRetired = true;
        await EnterAsync().ConfigureAwait(false);
    }

    private InvalidOperationException OutsideOfCallbacks() => new($"Stage '{stage.Name}' emitted outside of its callbacks. Await each EmitAsync within the callback.");

    /// <summary>Enters when all others have left.</summary>
    private async ValueTask EnterAsync()
    {
        while (Interlocked.Exchange(ref _isEmitting, 1) != 0)
        {
            stage.Wake();
            await Task.Yield();
        }
    }

    // A full link is nothing rare, so its waits allocate nothing.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask EmitSlowAsync(T value, CancellationToken cancellationToken)
    {
        try
        {
            await WaitAndWriteAsync(value, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            Volatile.Write(ref _isEmitting, 0);
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask WaitAndWriteAsync(T value, CancellationToken cancellationToken)
    {
        using CancellationTokenRegistration wake = cancellationToken.CanBeCanceled
            ? cancellationToken.UnsafeRegister(static state => ((StageNode)state!).Wake(), stage)
            : default;
        while (true)
        {
            // The token first: when it fired because the stage gives up, the stage is seen to.
            bool isCanceled = cancellationToken.IsCancellationRequested;

            // The link is completed when the emit was not awaited and the stage has ended meanwhile.
            if (stage.IsDiscarding || link.IsCompleted)
            {
                _wasRefused = true;
                throw new OperationCanceledException($"Stage '{stage.Name}' gives up what it holds; nothing can be emitted any more.", stage.DiscardToken);
            }

            if (_isRetired)
                throw OutsideOfCallbacks();
            if (isCanceled)
                cancellationToken.ThrowIfCancellationRequested();
            if (Clock?.HasRunOut == true)
                throw ItemTime.RunOut(stage.Name, cancellationToken);

            // One of several outputs is finished: what goes there is given up, the others go on.
            if (link.IsShut && stage.Outputs.Length > 1)
            {
                stage.NoteDiscarded(value, DiscardReason.NoDemand);
                return;
            }

            link.AskForSlot();
            if (stage.TryOffer(link, value))
                return;
            Clock?.Pause();
            await stage.WaitForSlotAsync(link).ConfigureAwait(false);
            Clock?.Resume();
            stage.BeginWork();

            if (!NeedsCheckpoint)
                continue;

            // A tick that runs here may emit, too.
            Volatile.Write(ref _isEmitting, 0);
            await CheckpointAsync().ConfigureAwait(false);
            await EnterAsync().ConfigureAwait(false);
        }
    }
}
