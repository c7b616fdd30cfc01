using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Isolation.Worker;

#pragma warning disable RS0030 // A child process belongs to the library: its console, its threads and its end.

namespace Puma.Dataflow.Isolation.Launch;

/// <summary>The life of a child process, in place of the program's <c>Main</c>.</summary>
internal static class ChildMain
{
    private static readonly TimeSpan BeatPeriod = TimeSpan.FromMilliseconds(250);

    /// <summary>How long a child takes to make contact at most, whatever its parent thinks.</summary>
    private static readonly TimeSpan ContactTimeout = TimeSpan.FromSeconds(30);

    /// <summary>How long the removal of files may delay the end of a child whose parent is gone, on a machine that is slow or a file system that does not answer.</summary>
    private static readonly TimeSpan RemovalTimeout = TimeSpan.FromSeconds(2);

    /// <summary>Held while the group is ended, so that nobody ends this process before its group.</summary>
    private static readonly Lock GroupEnd = new();

    private static bool _isRunning;

    /// <summary>Whether this process was started as a child and its work has not begun.</summary>
    public static bool IsChild => !_isRunning && Environment.GetEnvironmentVariable(LaunchCommand.ChildMark) is not null;

    /// <summary>Ends a process that was started as a child but runs the program's own <c>Main</c>, before it does the program's work a second time.</summary>
    public static void EndIfNotTakenOver()
    {
        if (!IsChild)
            return;
        Console.Error.WriteLine("This process was started as a child of a Puma.Dataflow pipeline, but it runs Main of the program. Call PumaWorker.RunIfChild() in the first line of Main.");
        Environment.Exit(LaunchExit.NotTakenOver);
    }

    /// <summary>Does the work and ends the process.</summary>
    [DoesNotReturn]
    [SuppressMessage("Usage", "VSTHRD002:Avoid problematic synchronous waits", Justification = "It is the main thread of a process without a context, and it has nothing else to do.")]
    public static void Run()
    {
        _isRunning = true;
        int exitCode = LaunchExit.CannotWork;
        int parentGroup = FoundGroup();
        try
        {
            exitCode = RunAsync().GetAwaiter().GetResult();
        }
        catch (Exception error)
        {
            // The parent reads it from standard error.
            Console.Error.WriteLine($"The child process failed outside of user code: {error}");
        }

        EndGroup(parentGroup);
        Environment.Exit(exitCode);
        throw new InvalidOperationException("Environment.Exit does not return.");
    }

    /// <summary>Founds a group of processes, so that all that is started here can be ended together.</summary>
    /// <returns>The group that this process was in: its parent's.</returns>
    internal static int FoundGroup()
    {
        if (OperatingSystem.IsWindows())
            return 0;
        int before = UnixCalls.GetProcessGroup();

        // Fails when it leads its session, and with it a group, already. Whether there is a group of its own is asked before it is killed.
        _ = UnixCalls.SetProcessGroup(0, 0);
        return before;
    }

    /// <summary>
    /// Ends all that was started here, before this process ends in good order: the connections end with the parent, too, and may do so
    /// before the lifeline, so nobody else may be left to do it. To be spared itself, it goes back to where it came from.
    /// </summary>
    internal static void EndGroup(int parentGroup)
    {
        if (OperatingSystem.IsWindows())
            return;
        lock (GroupEnd)
        {
            if (UnixCalls.GetProcessGroup() != Environment.ProcessId)
                return;

            // Fails when that group has ended, because the parent has.
            _ = UnixCalls.SetProcessGroup(0, parentGroup);
            _ = UnixCalls.Kill(-Environment.ProcessId, UnixCalls.SigKill);
        }
    }

    private static Bootstrap ReadBootstrap(Stream lifeline, string endpoint)
    {
        try
        {
            return Bootstrap.ReadFrom(lifeline);
        }
        catch (EndOfStreamException)
        {
            ChildEndpoint.RemoveLeftBehind(endpoint);
            throw;
        }
    }

    /// <summary>What was set for this process is not meant for those that it starts.</summary>
    private static void RestoreEnvironment(IReadOnlyDictionary<string, string?> before)
    {
        foreach ((string name, string? value) in before)
            Environment.SetEnvironmentVariable(name, value);
    }

    private static async Task<int> RunAsync()
    {
        string endpoint = Environment.GetEnvironmentVariable(LaunchCommand.ChildMark)!;
        Stream lifeline = Console.OpenStandardInput();
        Bootstrap bootstrap = ReadBootstrap(lifeline, endpoint);
        if (bootstrap.Library != typeof(ChildMain).Module.ModuleVersionId)
            throw new InvalidOperationException("Puma.Dataflow is another build here than in the parent process. Was the program replaced while it ran? Restart it.");
        RestoreEnvironment(bootstrap.EnvironmentBefore);
        BlackBox box = BlackBox.Open(bootstrap.BlackBoxName);
        Watch(lifeline, box, endpoint, bootstrap.ParentProcessId);
        AppDomain.CurrentDomain.UnhandledException += (_, e) => box.SayLastWords(e.ExceptionObject.ToString() ?? "");
        using PosixSignalRegistration interrupt = Ignore(PosixSignal.SIGINT), quit = Ignore(PosixSignal.SIGQUIT);
        BeFirstForTheMemoryKiller();

        using var limit = new CancellationTokenSource(ContactTimeout, TimeProvider.System);
        Stream data = await ChildEndpoint.ConnectAsync(endpoint, ConnectionRole.Data, bootstrap.Secret, limit.Token).ConfigureAwait(false);
        await using (data.ConfigureAwait(false))
        {
            Stream control = await ChildEndpoint.ConnectAsync(endpoint, ConnectionRole.Control, bootstrap.Secret, limit.Token).ConfigureAwait(false);
            await using (control.ConfigureAwait(false))
                await ChildWorker.RunAsync(data, control, box, box.Log, TimeProvider.System).ConfigureAwait(false);
        }

        return 0;
    }

    /// <summary>The terminal's signals go to the whole group in front; the parent decides what they mean for its children.</summary>
    private static PosixSignalRegistration Ignore(PosixSignal signal) => PosixSignalRegistration.Create(signal, static context => context.Cancel = true);

    /// <summary>Two threads outside of the pool: one ends everything when the parent is gone, the other shows that this process lives.</summary>
    /// <remarks>
    /// The system could kill this process together with its parent (PR_SET_PDEATHSIG of prctl(2)), but it alone: what it started, and the
    /// files of its runtime, would stay.
    /// </remarks>
    private static void Watch(Stream lifeline, BlackBox box, string endpoint, int parent)
    {
        new Thread(() =>
        {
            try
            {
                while (lifeline.ReadByte() >= 0)
                {
                }
            }
            catch (IOException)
            {
                // As good as its end.
            }

            DieWithGroup(endpoint);
        })
        { Name = "puma-lifeline", IsBackground = true }.Start();
        new Thread(() =>
        {
            while (true)
            {
                box.Beat();
                Thread.Sleep(BeatPeriod);
                if (!OperatingSystem.IsWindows() && UnixCalls.GetParent() != parent)
                    DieWithGroup(endpoint);
            }
        })
        { Name = "puma-heartbeat", IsBackground = true }.Start();
    }

    /// <summary>Ends this process and all that it started, at once. On Windows the parent's job object does it.</summary>
    /// <remarks>A process that founded no group is in its parent's, which is not its to kill.</remarks>
    private static void DieWithGroup(string endpoint)
    {
        // A file that stays is a smaller harm than a process that does: an endpoint is removed by who starts a child next.
        Attempt(
            () =>
            {
                ChildEndpoint.RemoveLeftBehind(endpoint);
                RuntimeLeftovers.Remove(Environment.ProcessId, RuntimeLeftovers.DirectoryOf(Environment.GetEnvironmentVariable("TMPDIR")));
            },
            RemovalTimeout);
        lock (GroupEnd)
        {
            if (!OperatingSystem.IsWindows())
                _ = UnixCalls.Kill(UnixCalls.GetProcessGroup() == Environment.ProcessId ? 0 : Environment.ProcessId, UnixCalls.SigKill);
        }

        Environment.Exit(LaunchExit.CannotWork);
    }

    /// <summary>Does what must not keep this process from its end, however long it takes and whatever it throws.</summary>
    internal static void Attempt(Action action, TimeSpan limit)
    {
        var thread = new Thread(() =>
        {
            try
            {
                action();
            }
            catch (Exception)
            {
                // Nobody is left to tell: the parent is gone.
            }
        })
        { Name = "puma-attempt", IsBackground = true };
        try
        {
            thread.Start();
        }
        catch (Exception error) when (error is OutOfMemoryException or ThreadStartException)
        {
            // The system gives no further thread; the end needs none.
            return;
        }

        _ = thread.Join(limit);
    }

    /// <summary>When memory runs out, the system shall end a child before its parent; see proc(5), oom_score_adj.</summary>
    private static void BeFirstForTheMemoryKiller()
    {
        try
        {
            if (OperatingSystem.IsLinux())
                File.WriteAllText("/proc/self/oom_score_adj", "500");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // A wish, no need.
        }
    }
}
