using System.Diagnostics;
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
    private readonly HashSet<string> _filesBefore = [.. Directory.EnumerateFileSystemEntries(Path.GetTempPath())];
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

    /// <summary>Kills a process from outside.</summary>
    protected static void Kill(int process)
    {
        using Process child = Process.GetProcessById(process);
        child.Kill();
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

    /// <summary>Everything that was put into the temporary folder of the tests and is still there.</summary>
    private IEnumerable<string> Leftovers() => Directory.EnumerateFileSystemEntries(Path.GetTempPath()).Except(_filesBefore);
}
