using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Blocks;

/// <summary>Turns the failure of a foreign block into one of its stage.</summary>
internal static class ForeignFailure
{
    /// <summary>Takes the layers of aggregates off: the first failure counts, the others are secondary.</summary>
    /// <param name="stage">The stage that fails.</param>
    /// <param name="aggregate">What the foreign block ended with.</param>
    /// <param name="told">What we told the block ourselves; coming back it is an echo.</param>
    public static void FailWith(this StageNode stage, AggregateException aggregate, Exception? told)
    {
        bool isFirst = true;
        foreach (Exception error in aggregate.Flatten().InnerExceptions)
        {
            if (ReferenceEquals(error, told))
                continue;
            if (isFirst)
                stage.Fail(error);
            else
                stage.Graph.AddSecondary(new StageFaultedException(stage.Name, error));
            isFirst = false;
        }
    }
}
