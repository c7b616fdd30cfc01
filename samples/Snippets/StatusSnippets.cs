using Puma.Dataflow;

namespace Snippets;

#region status-report
public sealed record Progress(int Done, string Last);

public sealed class Importer : SinkRunnable<string>
{
    private int _done;

    protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
    {
        _done++;
        ReportStatus(new Progress(_done, item));
        return default;
    }
}
#endregion

internal static class StatusSnippets
{
    public static async Task RunAsync()
    {
        using var output = new StringWriter();

        await using PipelineRun<string> run = Pipeline.Accept<string>()
            .To(static () => new Importer(), new() { Name = "import", Placement = Placement.Loopback })
            .Build()
            .Start();

        #region status-look
        StageStatus status = run.Stage("import").Status;

        // The latest, or null; from any thread, also when the run has ended.
        Progress? now = status.Latest<Progress>()?.Value;

        // One that is there is returned at once.
        Task<StatusReport<Progress>> third = status.WaitAsync<Progress>(static p => p.Done == 3, TimeSpan.FromSeconds(10));
        Task<StatusReport<StageState>> running = status.WaitAsync<StageState>(static s => s == StageState.Running, TimeSpan.FromSeconds(10));
        #endregion

        Check.That(now is null);
        await running;
        Task reading = ReadAsync();
        foreach (string item in (string[])["a", "b", "c"])
            await run.SendAsync(item);
        Check.That((await third).Value.Last == "c");
        run.Complete();
        await run.Completion;
        await reading;
        Check.That(output.ToString().Contains("Completed", StringComparison.Ordinal));

        async Task ReadAsync()
        {
            #region status-stream
            await foreach (StatusReport<StageState> report in status.ReadAllAsync<StageState>())
                output.WriteLine($"{report.Time:T} {report.Value}"); // Starting, Running, Draining, Completed

            await foreach (StatusReport<Progress> report in status.ReadAllAsync<Progress>(capacity: 16))
                output.WriteLine($"{report.Value} of instance {report.Instance}; {report.Dropped} dropped before");
            #endregion
        }
    }
}
