namespace Puma.Dataflow.Isolation.Launch;

/// <summary>
/// Says what the end of a child means. The exit code alone does not: the runtime turns every crash of its own into an abort (134), and what
/// it wrote to standard error tells them apart.
/// </summary>
internal static class ExitReading
{
    private const int LinesShown = 20;

    /// <summary>The exit codes of what we ended: SIGTERM and SIGKILL, or what <see cref="WindowsJob.Kill"/> says.</summary>
    private static readonly int[] CodesOfKill = OperatingSystem.IsWindows() ? [-1] : [128 + UnixCalls.SigTerm, 128 + UnixCalls.SigKill];

    private static readonly Dictionary<int, string> Signals = new()
    {
        [1] = "SIGHUP",
        [2] = "SIGINT",
        [3] = "SIGQUIT",
        [4] = "SIGILL",
        [6] = "SIGABRT",
        [OperatingSystem.IsMacOS() ? 10 : 7] = "SIGBUS",
        [8] = "SIGFPE",
        [9] = "SIGKILL",
        [11] = "SIGSEGV",
        [13] = "SIGPIPE",
        [15] = "SIGTERM",
        [24] = "SIGXCPU",
    };

    public static ChildExit Read(int processId, int code, ChildExitReason? killedFor, string? killedWhy, bool isExpected, string standardError, string lastWords, bool hadMemoryKill)
    {
        string shown = LastLines(standardError.Length > 0 ? standardError : lastWords);

        // It may have ended by itself just before.
        if (killedFor is { } because && CodesOfKill.Contains(code))
            return new ChildExit(processId, because, code, null, killedWhy ?? WhyKilled(because), shown);
        if (isExpected && code == 0)
            return new ChildExit(processId, ChildExitReason.Stopped, code, null, "It ended after it was asked to.", shown);
        (ChildExitReason reason, string what) = OperatingSystem.IsWindows() ? OnWindows(code) : OnUnix(code, standardError, hadMemoryKill);
        string? signal = !OperatingSystem.IsWindows() && code > 128 && Signals.TryGetValue(code - 128, out string? name) ? name : null;
        return new ChildExit(processId, reason, code, signal, what, shown);
    }

    private static string WhyKilled(ChildExitReason because) => because switch
    {
        ChildExitReason.ProtocolViolated => "It was killed because it broke the protocol: it closed its connections, or sent what no child sends.",
        ChildExitReason.StartTimedOut => "It was killed because it had not started within StartTimeout. Raise it, or look at what the constructor and OnStartAsync wait for.",
        ChildExitReason.StopTimedOut => "It was killed because it did not end in time when it was asked to.",
        _ => "It was killed by its owner.",
    };

    private static (ChildExitReason, string) OnUnix(int code, string stderr, bool hadMemoryKill)
    {
        switch (code)
        {
            case 0:
                return (ChildExitReason.ExitedEarly, "It ended by itself with exit code 0 although its work was not done. Did user code call Environment.Exit?");
            case LaunchExit.NotTakenOver:
                return (ChildExitReason.StartFailed, "It ran Main of the program instead of the child's work, and was ended. Call PumaWorker.RunIfChild() in the first line of Main.");
            case 137:
                return (ChildExitReason.Killed, hadMemoryKill
                    ? "It was killed by SIGKILL: the system ran out of memory."
                    : "It was killed by SIGKILL, possibly because the system ran out of memory.");
            case 134 when stderr.Contains("Stack overflow", StringComparison.Ordinal):
                return (ChildExitReason.StackOverflow, "A stack overflow ended it (exit code 134).");
            case 134 when stderr.Contains("Out of memory", StringComparison.Ordinal):
                return (ChildExitReason.OutOfMemory, "It ran out of memory (exit code 134).");
            case 134 when stderr.Contains("Unhandled exception", StringComparison.Ordinal):
                return (ChildExitReason.UnhandledException, "An exception that nobody caught ended it (exit code 134).");
            case 134 when stderr.Contains("Process terminated", StringComparison.Ordinal):
                return (ChildExitReason.FailFast, "Environment.FailFast ended it (exit code 134).");
            case 134 when stderr.Contains("Fatal error", StringComparison.Ordinal):
                return (ChildExitReason.AccessViolation, "An invalid memory access ended it (exit code 134).");
            case 139:
                return (ChildExitReason.AccessViolation, "An invalid memory access ended it (SIGSEGV).");
            case 134:
                return (ChildExitReason.Crashed, "It crashed (exit code 134, an abort of the runtime or of native code).");
            case > 128 when Signals.TryGetValue(code - 128, out string? name):
                return (ChildExitReason.Killed, $"It was ended by {name} (exit code {code}).");
            default:
                return (ChildExitReason.ExitedEarly, $"It ended by itself with exit code {code} although its work was not done.");
        }
    }

    private static (ChildExitReason, string) OnWindows(int code) => unchecked((uint)code) switch
    {
        0 => (ChildExitReason.ExitedEarly, "It ended by itself with exit code 0 although its work was not done. Did user code call Environment.Exit?"),
        LaunchExit.NotTakenOver => (ChildExitReason.StartFailed, "It ran Main of the program instead of the child's work, and was ended. Call PumaWorker.RunIfChild() in the first line of Main."),
        0xC0000005 => (ChildExitReason.AccessViolation, "An invalid memory access ended it (0xC0000005)."),
        0xC00000FD => (ChildExitReason.StackOverflow, "A stack overflow ended it (0xC00000FD)."),
        0xE0434352 => (ChildExitReason.UnhandledException, "An exception that nobody caught ended it (0xE0434352)."),
        0x80131623 => (ChildExitReason.FailFast, "Environment.FailFast ended it (0x80131623)."),
        0x8007000E or 0xC0000017 => (ChildExitReason.OutOfMemory, $"It ran out of memory (0x{unchecked((uint)code):X8})."),
        uint.MaxValue => (ChildExitReason.Killed, "It was killed from outside (exit code -1)."),
        >= 0xC0000000 => (ChildExitReason.Crashed, $"It crashed (0x{unchecked((uint)code):X8})."),
        _ => (ChildExitReason.ExitedEarly, $"It ended by itself with exit code {code} although its work was not done."),
    };

    private static string LastLines(string text)
    {
        string[] lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        return string.Join(Environment.NewLine, lines.Length <= LinesShown ? lines : [.. lines.Take(LinesShown / 2), "…", .. lines.TakeLast(LinesShown / 2)]);
    }
}

/// <summary>Exit codes of our own.</summary>
internal static class LaunchExit
{
    /// <summary>A process that was started as a child ran its program instead (EX_SOFTWARE of sysexits.h).</summary>
    public const int NotTakenOver = 70;

    /// <summary>The work of a child could not begin, or failed outside of user code, or its parent is gone (EX_UNAVAILABLE).</summary>
    public const int CannotWork = 69;
}
