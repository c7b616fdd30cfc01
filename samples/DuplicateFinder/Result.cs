using System.Text.Json;
using Puma.Dataflow;

namespace DuplicateFinder;

/// <summary>Prints what came of a run: as one JSON object, or as text.</summary>
internal static class Result
{
    private static readonly JsonSerializerOptions Json = new() { WriteIndented = true };

    public static void PrintJson(PipelineReport report, Findings findings) =>
        Console.WriteLine(JsonSerializer.Serialize(
            new
            {
                files = findings.Files,
                bytes = findings.Bytes,
                unreadable = findings.Unreadable.Count,
                duplicateGroups = findings.Groups.Count,
                duplicateFiles = findings.DuplicateFiles,
                wastedBytes = findings.WastedBytes,
                state = report.State.ToString(),
                seconds = Math.Round(report.Duration.TotalSeconds, 3),
                stages = report.Stages.Select(static s => new
                {
                    name = s.Name,
                    accepted = s.Accepted,
                    delivered = s.Delivered,
                    skipped = s.Skipped,
                    deadLettered = s.DeadLettered,
                    failed = s.Failed,
                    discarded = s.Discarded,
                    abandoned = s.Abandoned,
                    emitted = s.Emitted,
                    restarts = s.Restarts,
                }),
            },
            Json));

    public static void PrintText(PipelineReport report, Findings findings)
    {
        foreach (DuplicateGroup group in findings.Groups)
        {
            Console.WriteLine($"{group.Paths.Count} files of {Size.Of(group.Size)}, {Size.Of(group.WastedBytes)} wasted");
            foreach (string path in group.Paths)
                Console.WriteLine($"    {Printable(path)}");
        }

        Console.WriteLine($"""
            {findings.Files:N0} files of {Size.Of(findings.Bytes)}; {findings.Groups.Count:N0} groups of duplicates, {findings.DuplicateFiles:N0} files too many, {Size.Of(findings.WastedBytes)} wasted
            {report.State} after {report.Duration.TotalSeconds:N1} s
            """);
    }

    /// <summary>Prints what could not be read, and what went wrong with the run, where it does not mix with the result.</summary>
    public static void PrintProblems(PipelineReport report, Findings findings)
    {
        foreach (DeadLetter letter in findings.Unreadable)
            Console.Error.WriteLine($"unreadable: {Printable(PathOf(letter))}: {letter.Error.Message}");
        foreach (StageReport stage in report.Stages.Where(static s => s.Discarded > 0))
            Console.Error.WriteLine($"{stage.Name}: {stage.Discarded:N0} items given up");
        if (report.Cause is { } cause)
            Console.Error.WriteLine(cause.Message);
        foreach (Exception error in report.SecondaryErrors)
            Console.Error.WriteLine(error.Message);
    }

    private static string PathOf(DeadLetter letter) => letter.Untyped switch
    {
        Found found => found.Path,
        SizedFile file => file.Path,
        var other => $"{other}",
    };

    /// <summary>A file name may hold anything, also what a terminal takes for a command.</summary>
    private static string Printable(string path) => string.Concat(path.Select(static c => char.IsControl(c) ? '?' : c));
}
