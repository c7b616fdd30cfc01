namespace Puma.Dataflow.Runnables;

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
