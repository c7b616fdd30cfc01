namespace Puma.Dataflow;

/// <summary>How long a stage has spent with what, from the start of its run until it ended, or until now. Measured for each burst, by the clock of the pipeline.</summary>
/// <remarks>What a run makes does not change and is safe for any thread, and no value of it is negative.</remarks>
/// <param name="Starting">Making and starting its instances; of a source in this process also waiting until every other stage has started.</param>
/// <param name="Working">Running user code or moving items. A stage with several instances works while one of them does.</param>
/// <param name="WaitingForInput">Waiting for an item: the stages before it are slower.</param>
/// <param name="WaitingForOutput">Waiting for a slot in the link to the next stage: the stages after it are slower.</param>
/// <param name="WaitingForRetry">Waiting until a failed item is tried again.</param>
/// <param name="WaitingForForeignCode">Waiting for a foreign block or reader.</param>
/// <param name="Ending">Running <c>OnEndAsync</c>.</param>
public sealed record StageTimes(TimeSpan Starting, TimeSpan Working, TimeSpan WaitingForInput, TimeSpan WaitingForOutput, TimeSpan WaitingForRetry, TimeSpan WaitingForForeignCode, TimeSpan Ending)
{
    /// <summary>All of them together: how long the stage has lasted.</summary>
    public TimeSpan Total => Starting + Working + WaitingForInput + WaitingForOutput + WaitingForRetry + WaitingForForeignCode + Ending;

    internal static StageTimes Sum(StageTimes first, StageTimes second) => new(
        first.Starting + second.Starting,
        first.Working + second.Working,
        first.WaitingForInput + second.WaitingForInput,
        first.WaitingForOutput + second.WaitingForOutput,
        first.WaitingForRetry + second.WaitingForRetry,
        first.WaitingForForeignCode + second.WaitingForForeignCode,
        first.Ending + second.Ending);
}
