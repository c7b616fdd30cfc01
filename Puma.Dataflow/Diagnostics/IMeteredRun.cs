namespace Puma.Dataflow.Diagnostics;

/// <summary>A run whose numbers the meter reads when somebody observes it. Any thread.</summary>
internal interface IMeteredRun
{
    /// <summary>The name of the pipeline.</summary>
    string Pipeline { get; }

    RunState State { get; }

    IReadOnlyList<StageReport> ReportStages();

    IReadOnlyList<LinkReport> ReportLinks();
}
