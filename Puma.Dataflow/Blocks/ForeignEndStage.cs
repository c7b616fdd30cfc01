using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Blocks;

/// <summary>Hands items to a foreign target.</summary>
internal sealed class ForeignEndStage<T>(StageSetup setup, Func<ForeignTarget<T>> getTarget) : ForeignSinkStage<T>(setup)
{
    protected override ForeignTarget<T> Connect() => getTarget();
}
