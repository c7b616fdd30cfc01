using System.Collections.Concurrent;
using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>Collects exceptions of tasks that nobody looked at, from the first test to the last.</summary>
internal static class UnobservedExceptions
{
    private static readonly ConcurrentQueue<Exception> Found = [];

    [ModuleInitializer]
    internal static void Subscribe() => TaskScheduler.UnobservedTaskException += static (_, e) => Found.Enqueue(e.Exception);

    /// <summary>Collects garbage, so that forgotten tasks show, and fails if there was any. Each is told once: it fails one test, not all that follow.</summary>
    public static void AssertNone()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        List<Exception> found = [];
        while (Found.TryDequeue(out Exception? error))
            found.Add(error);
        Assert.True(found.Count == 0, $"Unobserved task exceptions:{Environment.NewLine}{string.Join(Environment.NewLine, found)}");
    }
}
