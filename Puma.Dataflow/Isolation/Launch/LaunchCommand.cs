using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Isolation.Launch;

/// <summary>
/// Says how this very program is started once more as a child: by a start-up hook of the runtime that takes over before <c>Main</c>, or, when
/// <c>Main</c> begins with <see cref="PumaWorker.RunIfChild"/>, by that.
/// </summary>
internal static class LaunchCommand
{
    /// <summary>Marks the environment of a child until its hook has taken over; its value is the name of the endpoint.</summary>
    public const string ChildMark = "PUMA_CHILD";

    /// <summary>How many parents a process has.</summary>
    public const string DepthMark = "PUMA_CHILD_DEPTH";

    private const string StartupHooks = "DOTNET_STARTUP_HOOKS";

    /// <summary>How deep children may have children.</summary>
    public const int MaxDepth = 3;

    private const string ServerHeap = "DOTNET_gcServer";
    private const string HeapLimit = "DOTNET_GCHeapHardLimit";

    private const string HookName = "Puma.Dataflow";

    /// <summary>Whether <c>Main</c> of this program runs children by itself.</summary>
    public static bool IsMainPrepared { get; set; }

    public static int Depth => int.TryParse(Environment.GetEnvironmentVariable(DepthMark), CultureInfo.InvariantCulture, out int depth) ? depth : 0;

    /// <summary>Why this program cannot start children, and what to do; null when it can.</summary>
    public static string? FindProblem()
    {
        if (Depth >= MaxDepth)
            return $"this process is a child at depth {Depth} already, and children may be nested {MaxDepth} deep. Does the stage's own code build the pipeline that it runs in? Use Placement.InProcess there.";
        if (IsMainPrepared)
            return null;
        if (AppContext.TryGetSwitch("System.StartupHookProvider.IsSupported", out bool isSupported) && !isSupported)
            return "this program was published without start-up hooks (trimmed or native), so a child would run Main. Call PumaWorker.RunIfChild() in the first line of Main, or set <StartupHookSupport>true</StartupHookSupport>.";
        if (!RuntimeFeature.IsDynamicCodeSupported)
            return "this program is compiled ahead of time. Call PumaWorker.RunIfChild() in the first line of Main.";
        return Environment.ProcessPath is null ? "the path of this program cannot be told, so it cannot be started once more." : null;
    }

    /// <param name="placement">How the child is wanted.</param>
    /// <param name="endpoint">Where it is to connect.</param>
    /// <param name="before">The variables that are set for the child alone, with what they would be without that; null for none.</param>
    /// <exception cref="IsolationNotSupportedException">The program cannot be started once more.</exception>
    public static ProcessStartInfo Make(ChildProcessPlacement placement, string endpoint, out IReadOnlyDictionary<string, string?> before)
    {
        string program = Environment.ProcessPath!;
        var start = new ProcessStartInfo(program)
        {
            UseShellExecute = false,
            CreateNoWindow = true,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = placement.WorkingDirectory ?? Environment.CurrentDirectory,
        };
        if (Path.GetFileNameWithoutExtension(program).Equals("dotnet", StringComparison.OrdinalIgnoreCase))
            AddHostArguments(start);
        before = SetEnvironment(start.Environment, placement, endpoint);
        return start;
    }

    /// <summary>`dotnet app.dll` and test hosts: the same framework, dependencies and entry assembly as this process.</summary>
    private static void AddHostArguments(ProcessStartInfo start)
    {
        string? dependencies = (AppContext.GetData("APP_CONTEXT_DEPS_FILES") as string)?.Split(';')[0];
        string? entry = EntryPath();
        string? configuration = new[] { dependencies is null ? null : dependencies[..^".deps.json".Length] + ".runtimeconfig.json", entry is null ? null : Path.ChangeExtension(entry, ".runtimeconfig.json") }
            .FirstOrDefault(File.Exists);
        if (entry is null || configuration is null)
            throw new IsolationNotSupportedException($"The entry assembly of this program ({entry ?? "unknown"}) or its runtimeconfig.json cannot be found beside it, so it cannot be started once more as a child process. Call PumaWorker.RunIfChild() in Main and start the program by its own executable.");
        start.ArgumentList.Add("exec");
        start.ArgumentList.Add("--runtimeconfig");
        start.ArgumentList.Add(configuration);
        if (File.Exists(dependencies))
        {
            start.ArgumentList.Add("--depsfile");
            start.ArgumentList.Add(dependencies);
        }

        start.ArgumentList.Add(entry);
    }

    [UnconditionalSuppressMessage("SingleFile", "IL3000", Justification = "Only asked when the host is dotnet itself; a single file is its own host.")]
    private static string? EntryPath() => Assembly.GetEntryAssembly()?.Location is { Length: > 0 } path ? path : null;

    private static Dictionary<string, string?> SetEnvironment(IDictionary<string, string?> environment, ChildProcessPlacement placement, string endpoint)
    {
        // A profiler or a debugger's agent is meant for this process.
        foreach (string name in environment.Keys.Where(static k => k.StartsWith("CORECLR_PROFILER", StringComparison.Ordinal) || k is "CORECLR_ENABLE_PROFILING").ToList())
            environment.Remove(name);
        foreach ((string name, string? value) in placement.Environment)
            environment[name] = value;

        var before = new Dictionary<string, string?>();
        Set(ChildMark, endpoint);

        // A server heap in each child would take as many heaps as there are processors.
        if (!placement.Environment.ContainsKey(ServerHeap))
            Set(ServerHeap, "0");
        if (placement.MemoryLimit is { } limit)
            Set(HeapLimit, limit.ToString("x", CultureInfo.InvariantCulture));
        if (!IsMainPrepared)
            Set(StartupHooks, environment.TryGetValue(StartupHooks, out string? hooks) && !string.IsNullOrEmpty(hooks) ? hooks + Path.PathSeparator + HookName : HookName);

        // The one that those whom the child starts shall see.
        environment[DepthMark] = (Depth + 1).ToString(CultureInfo.InvariantCulture);
        return before;

        void Set(string name, string value)
        {
            before[name] = environment.TryGetValue(name, out string? old) ? old : null;
            environment[name] = value;
        }
    }
}
