using System.Runtime.CompilerServices;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>Writes outputs of user code straight into a link. Belongs to the stage's own stream.</summary>
internal class LinkEmitter<T>(StageNode stage, Link<T> link) : Emitter<T>, IAttemptOutputs
{
    private readonly EmitGate _gate = new();
    private readonly Wakeup _wakeup = stage.AddWakeup();
    private List<T>? _held;
    private bool _isHolding;

    // Written by the stream, read by emits.
    private volatile bool _isRetired;

    /// <summary>Those that wait for a slot, or for what they have let in.</summary>
    protected EmitsUnderWay UnderWay { get; } = new();

    public override bool IsStopping => stage.IsStopping;

    public override int Room => link.IsShut ? 0 : link.Capacity - link.SlotsHeld;

    /// <exception cref="InvalidOperationException">Another emit has not returned.</exception>
    public override ValueTask EmitAsync(T value, CancellationToken cancellationToken)
    {
        if (!_gate.TryEnter())
            throw _isRetired ? OutsideOfCallbacks() : new InvalidOperationException($"Stage '{stage.Name}' emits while another of its emits has not returned. Await each EmitAsync before the next one.");
        if (_isHolding)
            (_held ??= []).Add(value);
        else if (Clock?.HasRunOut == true || stage.IsDiscarding || !link.TryWrite(value))
            return EmitSlowAsync(value, cancellationToken);
        _gate.Leave();
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

    public ValueTask EmitsReturnedAsync() => UnderWay.WhenNoneAsync(stage.Wake);

    public bool TakeRefused()
    {
        bool wasRefused = WasRefused;
        WasRefused = false;
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
        await _gate.EnterAsync(stage.Wake).ConfigureAwait(false);
        stage.RemoveWakeup(_wakeup);
    }

    private InvalidOperationException OutsideOfCallbacks() => new($"Stage '{stage.Name}' emitted outside of its callbacks. Await each EmitAsync within the callback.");

    /// <summary>Throws if this value, or any, cannot be emitted any more.</summary>
    private void ThrowIfRefused(CancellationToken cancellationToken)
    {
        // The token first: when it fired because the stage gives up, the stage is seen to.
        bool isCanceled = cancellationToken.IsCancellationRequested;

        // The link is completed when the emit was not awaited and the stage has ended meanwhile.
        if (stage.IsDiscarding || link.IsCompleted)
        {
            WasRefused = true;
            throw new OperationCanceledException($"Stage '{stage.Name}' gives up what it holds; nothing can be emitted any more.", stage.DiscardToken);
        }

        if (_isRetired)
            throw OutsideOfCallbacks();
        if (isCanceled)
            cancellationToken.ThrowIfCancellationRequested();
        if (Clock?.HasRunOut == true)
            throw ItemTime.RunOut(stage.Name, cancellationToken);
    }

    // A full link is nothing rare, so its waits allocate nothing.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask EmitSlowAsync(T value, CancellationToken cancellationToken)
    {
        _gate.Stay();
        UnderWay.Begin();
        bool hasWaited = false;
        try
        {
            using CancellationTokenRegistration wake = cancellationToken.CanBeCanceled
                ? cancellationToken.UnsafeRegister(static state => ((StageNode)state!).Wake(), stage)
                : default;
            while (true)
            {
                ThrowIfRefused(cancellationToken);

                // One of several outputs is finished: what goes there is given up, the others go on.
                if (link.IsShut && stage.Outputs.Length > 1)
                {
                    stage.NoteDiscarded(value, DiscardReason.NoDemand);
                    return;
                }

                // Who was woken has a slot, and must not ask for another: he would be woken for nothing.
                if (stage.TryOffer(link, value))
                    return;
                link.AskForSlot();
                if (stage.TryOffer(link, value))
                    return;
                // Who is woken for nothing waits all the while, for all that others see.
                hasWaited = true;
                Clock?.Pause();
                await stage.WaitForSlotAsync(link, _wakeup).ConfigureAwait(false);
                Clock?.Resume();
                if (!NeedsCheckpoint)
                    continue;

                // Before the signal is taken: a stage that needs no attention, and waits, is at rest.
                stage.BeginWork();

                // A tick that runs here may emit, too.
                _gate.LeaveAfterStay();
                try
                {
                    await CheckpointAsync().ConfigureAwait(false);
                }
                finally
                {
                    await _gate.EnterAsync(stage.Wake).ConfigureAwait(false);
                    _gate.Stay();
                }
            }
        }
        finally
        {
            if (hasWaited)
                stage.BeginWork();
            _gate.LeaveAfterStay();
            UnderWay.End();
        }
    }
}
