using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>Takes nothing: where the code of a pool's instance emits to while it has no item.</summary>
internal sealed class ClosedEmitter<T>(StageNode stage) : Emitter<T>
{
    public override ValueTask EmitAsync(T value, CancellationToken cancellationToken) => throw TooLate(stage);

    public static InvalidOperationException TooLate(StageNode stage) =>
        new($"Stage '{stage.Name}' emitted for a callback that had returned. Await each EmitAsync within the callback.");
}
