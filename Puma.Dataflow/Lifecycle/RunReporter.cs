namespace Puma.Dataflow.Lifecycle;

/// <summary>Makes the snapshots of a run and its last report. Changes nothing. Any thread.</summary>
internal sealed class RunReporter(TimeProvider time, RunEnding ending)
{
    private readonly long _startTimestamp = time.GetTimestamp();

    public PipelineSnapshot Snapshot(GraphShape shape)
    {
        (StageFaultedException? cause, IReadOnlyList<Exception> secondary) = ending.Errors;
        return new()
        {
            State = ending.State,
            Stages = shape.ReportStages(),
            Links = shape.ReportLinks(),
            Duration = time.GetElapsedTime(_startTimestamp),
            Cause = cause,
            SecondaryErrors = secondary,
            Abandoned = shape.NamesOfAbandoned(),
        };
    }

    /// <summary>The report of a run that has ended.</summary>
    public PipelineReport Report(GraphShape shape)
    {
        PipelineSnapshot last = Snapshot(shape);
        return new()
        {
            State = last.State,
            Stages = last.Stages,
            Links = last.Links,
            Duration = last.Duration,
            Cause = last.Cause,
            SecondaryErrors = last.SecondaryErrors,
            Abandoned = last.Abandoned,
        };
    }
}
