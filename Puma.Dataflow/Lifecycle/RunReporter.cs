namespace Puma.Dataflow.Lifecycle;

/// <summary>Makes the snapshots of a run and its last report. Changes nothing. Any thread.</summary>
internal sealed class RunReporter(TimeProvider time, RunEnding ending, TimeSpan stallTimeout)
{
    private readonly long _startTimestamp = time.GetTimestamp();

    /// <param name="shape">What counts of the run.</param>
    public PipelineSnapshot Snapshot(GraphShape shape)
    {
        (StageFaultedException? cause, IReadOnlyList<Exception> secondary) = ending.Errors;
        IReadOnlyList<StageReport> stages = shape.ReportStages();
        IReadOnlyList<LinkReport> links = shape.ReportLinks();
        return new()
        {
            State = ending.State,
            Stages = stages,
            Links = links,
            WaitForChain = WaitForChain.Of(stages, links, stallTimeout),
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
