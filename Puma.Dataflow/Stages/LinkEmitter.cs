using System.Runtime.CompilerServices;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>Writes outputs of user code straight into a link. Belongs to the stage's own stream.</summary>
internal class LinkEmitter<T>(StageNode stage, Link<T> link) : Emitter<T>, IAttemptOutputs
{
    private const int Nobody = 0;
    private const int Passing = 1; // leaves without waiting for anything
    private const int Waiting = 2; // may wait, and signals that it has left

    private List<T>? _held;
    private bool _isHolding;
    private bool _wasRefused;

    // Who is on its way: user code that does not await its emits must not get into its own. Changed by who enters and by who leaves.
    private int _inside = Nobody;

    // Completed by the next one that leaves after waiting; made by those who want to enter after it.
    private TaskCompletionSource? _left;

    // Written by the stream, read by emits.
    private volatile bool _isRetired;

    public override bool IsStopping => stage.IsStopping;

    public override int Room => link.IsShut ? 0 : link.Capacity - link.SlotsHeld;

    /// <exception cref="InvalidOperationException">Another emit has not returned.</exception>
    public override ValueTask EmitAsync(T value, CancellationToken cancellationToken)
    {
        if (Interlocked.CompareExchange(ref _inside, Passing, Nobody) != Nobody)
            throw _isRetired ? OutsideOfCallbacks() : new InvalidOperationException($"Stage '{stage.Name}' emits while another of its emits has not returned. Await each EmitAsync before the next one.");
        if (_isHolding)
            (_held ??= []).Add(value);
        else if (Clock?.HasRunOut == true || stage.IsDiscarding || !link.TryWrite(value))
            return EmitSlowAsync(value, cancellationToken);
        Volatile.Write(ref _inside, Nobody);
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
        while (Interlocked.CompareExchange(ref _inside, Passing, Nobody) is not Nobody and int other)
        {
            if (other == Passing)
            {
                await Task.Yield();
                continue;
            }

            // The signal first, then the look: either this sees that the other has left, or the other sees the signal.
            var made = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            TaskCompletionSource left = Interlocked.CompareExchange(ref _left, made, null) ?? made;
            if (Volatile.Read(ref _inside) != Waiting)
                continue;

            // It looks again whether it is still wanted.
            stage.Wake();
            await left.Task.ConfigureAwait(false);
        }
    }

    /// <summary>Leaves after an emit that may have waited.</summary>
    private void Leave()
    {
        Interlocked.Exchange(ref _inside, Nobody);
        Interlocked.Exchange(ref _left, null)?.SetResult();
    }

    // A full link is nothing rare, so its waits allocate nothing.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask EmitSlowAsync(T value, CancellationToken cancellationToken)
    {
        Volatile.Write(ref _inside, Waiting);
        try
        {
            await WaitAndWriteAsync(value, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            Leave();
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
            Leave();
            try
            {
                await CheckpointAsync().ConfigureAwait(false);
            }
            finally
            {
                await EnterAsync().ConfigureAwait(false);
                Volatile.Write(ref _inside, Waiting);
            }
        }
    }
}
