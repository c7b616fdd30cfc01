using System.Diagnostics.Metrics;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow;

namespace Snippets;

/// <summary>What docs/monitoring.md looks at.</summary>
internal static class MonitoringSnippets
{
    public static async Task RunAsync()
    {
        await Table();
        await Listening();
        await Pictures();
    }

    private static async Task Table()
    {
        await using PipelineRun<int> run = Pipeline.Accept<int>().ForEach(static x => { }, new() { Name = "work" }).Build().Start();

        #region monitoring-table
        PipelineSnapshot now = run.Snapshot();
        Console.WriteLine(now);
        foreach (LinkReport link in now.Links)
            Console.WriteLine($"{link.From} -> {link.To}: {link.SlotsHeld} of {link.Capacity} slots held");
        #endregion

        Check.That(now.WaitForChain.Count == 0 && now.Links.Count == 1);
        await run.SendAsync(1);
        run.Complete();

        #region monitoring-report
        PipelineReport report = await run.Report;
        StageReport work = report.Stage("work");
        Console.WriteLine($"{work.Accepted} accepted, {work.Skipped} skipped, {work.DeadLettered} dead-lettered");
        #endregion

        Check.That(work is { Accepted: 1, Delivered: 1, Skipped: 0, DeadLettered: 0 });
    }

    private static async Task Listening()
    {
        await using PipelineRun<int> run = Pipeline.Accept<int>().ForEach(static x => { }).Build().Start();
        List<string> lines = [];

        #region monitoring-meter
        using var listener = new MeterListener
        {
            InstrumentPublished = static (instrument, self) =>
            {
                if (instrument.Meter.Name == "Puma.Dataflow")
                    self.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => lines.Add($"{instrument.Name} {value}"));
        listener.Start();
        listener.RecordObservableInstruments();
        #endregion

        Check.That(lines.Contains("puma.runs.active 1"));
    }

    private static async Task Pictures()
    {
        var dead = new BufferBlock<DeadLetter<int>>();
        List<int> seen = [];

        #region monitoring-pictures
        Pipeline pipeline = Pipeline.From([1, 2, 3], new() { Name = "list" })
            .Transform(static x => x * x, new() { Name = "square", MaxDegreeOfParallelism = 2, ErrorPolicy = ErrorPolicy.DeadLetter(dead) })
            .Broadcast(
                b => b.ForEach(seen.Add, new() { Name = "sum", BoundedCapacity = 10 }),
                static b => b.Named("audit").Optional().WhenFull(FullMode.DropOldest).ForEach(static x => { }))
            .Build();
        string flowchart = pipeline.ToMermaid();
        string dot = pipeline.ToDot();
        #endregion

        #region monitoring-live
        await using PipelineRun run = pipeline.Start();
        string live = run.Snapshot().ToMermaid();
        #endregion

        await run.Completion;
        Check.That(flowchart.Contains("×2") && dot.StartsWith("digraph", StringComparison.Ordinal) && live.Contains("queued") && seen.Count == 3);
    }
}
