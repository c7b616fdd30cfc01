// One log: three recorders in three child processes and a counter on a thread of this process log to one rolling file and the console, as
// NLog.config says. Nothing but this process opens the file. With "--placement inprocess" the recorders are threads, too, and the lines are
// the same but for the ids of processes and threads.
using Microsoft.Extensions.Logging;
using NLog;
using Puma.Dataflow;

const string Usage = "usage: OneLog [--placement inprocess|loopback|childprocess] [--log-file FILE] [--records N] [--production]";
Placement placement = Placement.ChildProcess;
string? logFile = null;
int records = 5;
string config = "NLog.config";
for (int i = 0; i < args.Length; i++)
{
    string? value = i + 1 < args.Length ? args[i + 1] : null;
    switch (args[i], value)
    {
        case ("--placement", "inprocess" or "loopback" or "childprocess"):
            placement = value switch { "inprocess" => Placement.InProcess, "loopback" => Placement.Loopback, _ => Placement.ChildProcess };
            i++;
            break;
        case ("--log-file", not null):
            logFile = Path.GetFullPath(value);
            i++;
            break;
        case ("--records", not null) when int.TryParse(value, out records) && records >= 0:
            i++;
            break;
        case ("--production", _):
            config = "NLog.production.config";
            break;
        default:
            Console.Error.WriteLine(Usage);
            return 2;
    }
}

// NLog would find NLog.config by itself; this is for the other one, and for the name of the file.
LogManager.Setup().LoadConfigurationFromFile(Path.Combine(AppContext.BaseDirectory, config), optional: false);
if (logFile is not null)
{
    LogManager.Configuration!.Variables["logFile"] = logFile;
    LogManager.ReconfigExistingLoggers();
}

LogManager.GetLogger("OneLog").Info("{0} recorders log {1} records each", 3, records);

await using PipelineRun run = Recorder(0)
    .Merge(Recorder(1), Recorder(2))
    .To(static () => new Counter(), new() { Name = "count" })
    .Build(new() { Name = "OneLog" })
    .Start();
PipelineReport report = await run.Completion;

LogManager.Shutdown(); // the last lines are in the file
if (logFile is not null && !File.Exists(logFile))
{
    Console.Error.WriteLine($"{logFile} could not be written.");
    return 1;
}

return report.State == RunState.Completed ? 0 : 1;

PipelineBuilder<NoInput, Recorded> Recorder(int index) =>
    Pipeline.From(static o => new Recorder(o), new RecorderOptions(index, records), new() { Name = $"recorder{index}", Placement = placement });

/// <summary>What a recorder is told.</summary>
internal sealed record RecorderOptions(int Index, int Records);

/// <summary>What a recorder has done.</summary>
internal sealed record Recorded(int Index, int Records);

/// <summary>Logs its records, wherever it runs: by the logger of its stage, and once by NLog itself.</summary>
internal sealed class Recorder(RecorderOptions options) : SourceRunnable<Recorded>
{
    private static readonly Logger Log = LogManager.GetCurrentClassLogger();

    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        Log.Debug("recorder {Index} begins", options.Index);
        for (int n = 1; n <= options.Records && !stopToken.IsCancellationRequested; n++)
            Context.Logger.LogInformation("record c={Index} n={Number}", options.Index, n);
        await EmitAsync(new Recorded(options.Index, options.Records), stopToken);
    }
}

/// <summary>Counts what was recorded; runs in the program's own process.</summary>
internal sealed class Counter : SinkRunnable<Recorded>
{
    private int _total;

    protected override ValueTask OnItemAsync(Recorded item, CancellationToken cancellationToken)
    {
        _total += item.Records;
        Context.Logger.LogInformation("recorder {Index} is done, {Total} records by now", item.Index, _total);
        return default;
    }
}
