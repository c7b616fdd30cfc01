// Finds duplicate files in a folder, as a user of the library would write it. Search.cs is the pipeline; the rest is one idea a file.
using DuplicateFinder;
using Puma.Dataflow;

Arguments arguments;
var findings = new Findings();
Pipeline pipeline;
try
{
    arguments = Arguments.Parse(args);
    pipeline = Search.Build(arguments, findings);
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
await Progress.ShowAsync(run, findings, arguments.Json);

PipelineReport report = await run.Report; // in each case: completed, cancelled or faulted
Result.PrintProblems(report, findings);
if (interrupt.HasStopped)
    Console.Error.WriteLine("Stopped early: the rest of the folder was not looked at.");
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
