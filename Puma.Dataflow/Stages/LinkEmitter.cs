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

    public override bool IsStopping => stage.IsStopping;

    public override int Room => link.IsShut ? 0 : link.Capacity - link.SlotsHeld;

    public override ValueTask EmitAsync(T value, CancellationToken cancellationToken)
    {
        if (_isHolding)
        {
            (_held ??= []).Add(value);
            return default;
        }

        return !stage.IsDiscarding && link.TryWrite(value) ? default : EmitSlowAsync(value, cancellationToken);
    }

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

    /// <summary>Runs at each turn of a wait for a slot.</summary>
    protected virtual ValueTask CheckpointAsync() => default;

    private async ValueTask EmitSlowAsync(T value, CancellationToken cancellationToken)
    {
        using CancellationTokenRegistration wake = cancellationToken.CanBeCanceled
            ? cancellationToken.UnsafeRegister(static state => ((StageNode)state!).Wake(), stage)
            : default;
        while (true)
        {
            if (stage.IsDiscarding)
            {
                _wasRefused = true;
                throw new OperationCanceledException($"Stage '{stage.Name}' gives up what it holds; nothing can be emitted any more.", stage.DiscardToken);
            }

            if (cancellationToken.IsCancellationRequested)
            {
                _wasRefused = true;
                cancellationToken.ThrowIfCancellationRequested();
            }

            // One of several outputs is finished: what goes there is given up, the others go on.
            if (link.IsShut && stage.Outputs.Length > 1)
            {
                stage.NoteDiscarded(value, DiscardReason.NoDemand);
                return;
            }

            link.AskForSlot();
            if (stage.TryOffer(link, value))
                return;
            await stage.WaitAsync(StageActivity.WaitingForOutput, link).ConfigureAwait(false);
            stage.BeginWork();
            await CheckpointAsync().ConfigureAwait(false);
        }
    }
}

/// <summary>The emitter of a stage without outputs.</summary>
internal sealed class NullEmitter : Emitter<NoOutput>, IAttemptOutputs
{
    public static NullEmitter Instance { get; } = new();

    public override ValueTask EmitAsync(NoOutput value, CancellationToken cancellationToken) => default;

    public void Hold() { }

    public void DropHeld() { }

    public ValueTask PassHeldAsync() => default;

    public bool TakeRefused() => false;
}
