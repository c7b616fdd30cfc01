using System.Threading.Tasks.Dataflow;
using Microsoft.Extensions.Logging;
using Puma.Dataflow;

namespace DuplicateFinder;

/// <summary>The pipeline: enumerate, group by size, hash, group by hash, report.</summary>
internal static class Search
{
    /// <exception cref="PipelineBuildException">The arguments ask for something that the library refuses.</exception>
    public static Pipeline Build(Arguments arguments, Findings findings, ILoggerFactory? loggers)
    {
        // One target for the dead letters of both stages that touch the disk.
        ErrorPolicy listUnreadable = ErrorPolicy.DeadLetter(new ActionBlock<DeadLetter>(findings.AddUnreadable));

        return Pipeline
            .From(static o => new FolderWalk(o), new FolderWalkOptions(arguments.Folder), new() { Name = "enumerate" })
            .Transform(Measure.SizeOf, new() { Name = "measure", ErrorPolicy = listUnreadable })
            .Tap(findings.AddFile, new() { Name = "tally" })
            .Then(static () => new SameSize(), new() { Name = "group-by-size" })
            .Then(static o => new Hasher(o), new HasherOptions("SHA256"), new()
            {
                Name = "hash",
                MaxDegreeOfParallelism = arguments.Parallel,
                Placement = arguments.Placement,
                ErrorPolicy = listUnreadable,
            })
            .Then(static () => new SameContent(), new() { Name = "group-by-hash" })
            .ForEach(findings.AddDuplicate, new() { Name = "report" })
            .Build(new() { Name = "duplicates", LoggerFactory = loggers });
    }
}
