using Puma.Dataflow;
using Spectre.Console;

namespace DuplicateFinder;

/// <summary>Shows how the run gets on until it has ended: a table of the stages on a terminal, now and then a line otherwise.</summary>
internal static class Progress
{
    private static readonly TimeSpan TableInterval = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LineInterval = TimeSpan.FromSeconds(2);

    public static bool CanShowTable => !Console.IsOutputRedirected && AnsiConsole.Profile.Capabilities.Ansi;

    public static Task ShowAsync(PipelineRun run, Findings findings, bool asTable) =>
        asTable ? ShowTableAsync(run, findings) : ShowLinesAsync(run, findings);

    private static Task ShowTableAsync(PipelineRun run, Findings findings) =>
        AnsiConsole.Live(TableOf(run.Snapshot(), findings)).AutoClear(true).StartAsync(async live =>
        {
            while (!await HasEndedAsync(run, TableInterval))
                live.UpdateTarget(TableOf(run.Snapshot(), findings));
        });

    private static async Task ShowLinesAsync(PipelineRun run, Findings findings)
    {
        while (!await HasEndedAsync(run, LineInterval))
            await Console.Error.WriteLineAsync(LineOf(run.Snapshot(), findings)); // standard output is for the result
    }

    private static async Task<bool> HasEndedAsync(PipelineRun run, TimeSpan within)
    {
        await Task.WhenAny(run.Report, Task.Delay(within));
        return run.Report.IsCompleted;
    }

    private static Table TableOf(PipelineSnapshot snapshot, Findings findings)
    {
        var table = new Table { Border = TableBorder.Rounded, Caption = new TableTitle(Markup.Escape(LineOf(snapshot, findings))) };
        table.AddColumn("stage");
        foreach (string column in (string[])["accepted", "delivered", "emitted", "queued"])
            table.AddColumn(new TableColumn(column).RightAligned());
        table.AddColumn("does");
        foreach (StageReport stage in snapshot.Stages)
            table.AddRow(stage.Name, $"{stage.Accepted:N0}", $"{stage.Delivered:N0}", $"{stage.Emitted:N0}", $"{stage.Queued:N0}", stage.WaitsFor is { } next ? $"waits for {next}" : $"{stage.Activity}");
        return table;
    }

    private static string LineOf(PipelineSnapshot snapshot, Findings findings)
    {
        StageReport hash = snapshot.Stage("hash");
        return $"{snapshot.State}: {findings.Files:N0} files, {hash.Delivered:N0} hashed, {findings.DuplicateFiles:N0} duplicates, {Size.Of(findings.WastedBytes)} wasted";
    }
}
