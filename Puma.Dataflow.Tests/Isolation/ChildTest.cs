using System.Globalization;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Tests that count the processes, descriptors and files of this whole process run alone.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class ChildrenAlone
{
    public const string Name = "children, alone";
}

/// <summary>The base of tests that start children: after each test no process, zombie, socket, descriptor or file of theirs is left.</summary>
[Collection(ChildrenAlone.Name)]
public abstract class ChildTest : PipelineTest
{
    private readonly HashSet<string> _filesBefore = TemporaryFiles();
    private readonly string _oncePath = Path.Combine(Path.GetTempPath(), "chaos-" + Guid.NewGuid().ToString("N", CultureInfo.InvariantCulture));

    /// <summary>The file that makes a chaotic runnable do its harm only once.</summary>
    protected string Once()
    {
        File.WriteAllText(_oncePath, "");
        return _oncePath;
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        File.Delete(_oncePath);
        File.Delete(_oncePath + ".done");
        await Waiting.UntilAsync(() => Children().Count == 0, () => $"no child process is left, but there are {string.Join(", ", Children())}");
        await Waiting.UntilAsync(() => !Leftovers().Any(), () => $"nothing is left, but there are {string.Join(", ", Leftovers())}");
        GC.SuppressFinalize(this);
    }

    /// <summary>The process ids of all children of this process, zombies included.</summary>
    protected static IReadOnlyList<int> Children()
    {
        List<int> children = [];
        foreach (string task in Directory.GetDirectories("/proc/self/task"))
        {
            try
            {
                children.AddRange(File.ReadAllText(Path.Combine(task, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(static id => int.Parse(id, CultureInfo.InvariantCulture)));
            }
            catch (IOException)
            {
                // The thread has ended meanwhile; its children are another's now.
            }
        }

        return children;
    }

    /// <summary>Files and sockets of children that are still there. Those of other processes that live are none.</summary>
    private IEnumerable<string> Leftovers() => TemporaryFiles().Except(_filesBefore).Where(static path =>
        !(Path.GetFileName(path).Split('-') is [_, _, { } id, ..] && int.TryParse(id, CultureInfo.InvariantCulture, out int process) && Directory.Exists($"/proc/{process}")));

    private static HashSet<string> TemporaryFiles() =>
        [.. ((string[])["pm*", "dotnet-diagnostic-*", "clr-debug-pipe-*"]).SelectMany(static pattern => Directory.EnumerateFileSystemEntries(Path.GetTempPath(), pattern))];
}
