// Finds duplicate files in a folder, as a user of the library would write it. Search.cs is the pipeline; the rest is one idea a file.
using DuplicateFinder;
using Microsoft.Extensions.Logging.Abstractions;
using Puma.Dataflow;

Arguments arguments;
bool hasTable;
var findings = new Findings();
Pipeline pipeline;
try
{
    arguments = Arguments.Parse(args);
    hasTable = !arguments.Json && Progress.CanShowTable;

    // A log line in the midst of the table would spoil it, and the report tells the same at the end.
    pipeline = Search.Build(arguments, findings, hasTable ? NullLoggerFactory.Instance : null);
}
catch (FormatException error)
{
    Console.Error.WriteLine(error.Message);
    Console.Error.WriteLine(Arguments.Usage);
    return 2;
}
catch (PipelineBuildException error)
{
    Console.Error.WriteLine(error.Message);
    return 2;
}

await using PipelineRun run = pipeline.Start();
using var interrupt = new Interrupt(run);
await Progress.ShowAsync(run, findings, hasTable);

PipelineReport report = await run.Report; // in each case: completed, cancelled or faulted
Result.PrintProblems(report, findings);
if (interrupt.HasStopped)
    Console.Error.WriteLine("Stopped early: the result is not that of the whole folder.");
if (arguments.Json)
    Result.PrintJson(report, findings);
else
    Result.PrintText(report, findings);

return report.State switch
{
    RunState.Completed => 0,
    RunState.Canceled => 130, // what a shell expects of a program that Ctrl+C ended
    _ => 1,
};
