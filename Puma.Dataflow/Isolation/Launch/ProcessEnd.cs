using System.Globalization;

namespace Puma.Dataflow.Isolation.Launch;

/// <summary>Whether a process has ended, asked of the system: on a busy machine the news of it takes a while.</summary>
internal static class ProcessEnd
{
    /// <summary>Of the flags of a process: it is on its way out. See PF_EXITING in the kernel's include/linux/sched.h.</summary>
    private const uint Exiting = 4;

    /// <summary>Whether a process has ended or is about to, so that whatever is sent to it now changes nothing. False where the system does not tell.</summary>
    public static bool HasBegun(int processId)
    {
        if (!OperatingSystem.IsLinux())
            return false;
        try
        {
            // See proc(5), /proc/pid/stat. The name, in parentheses, may hold anything; behind it come the state and, five fields later, the flags.
            string stat = File.ReadAllText($"/proc/{processId}/stat");
            string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return fields[0] is "Z" or "X" || (uint.Parse(fields[6], CultureInfo.InvariantCulture) & Exiting) != 0;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // It is gone, unless nothing is told of any process.
            return File.Exists("/proc/self/stat");
        }
    }
}
