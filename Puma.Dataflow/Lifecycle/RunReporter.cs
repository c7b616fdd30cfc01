using Puma.Dataflow.Buffers;

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
            Stages = [.. shape.Nodes.Select(static n => n.Report())],
            Links = [.. shape.Links.Select(static l => ReportOf(l))],
            Duration = time.GetElapsedTime(_startTimestamp),
            Cause = cause,
            SecondaryErrors = secondary,
            Abandoned = [.. shape.Nodes.Where(static n => n.IsAbandoned).Select(static n => n.Name)],
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

    private static LinkReport ReportOf(Link link)
    {
        LinkCounts counts = link.Counts;
        return new LinkReport(link.From, link.To, link.Capacity, counts.Sent, counts.Received, counts.Discarded, counts.Dropped);
    }
}
