namespace Puma.Dataflow.Isolation.Launch;

/// <summary>
/// Removes what the runtime of a killed process leaves behind: the socket of its diagnostic port and the pipes of its debugger, which it
/// unlinks only at an orderly end. Their names hold the process id; see the runtime's design document of the diagnostic IPC protocol.
/// </summary>
internal static class RuntimeLeftovers
{
    /// <summary>Where the runtime of a process keeps them.</summary>
    /// <param name="temporary">The process's own TMPDIR; null or empty when it has none.</param>
    public static string DirectoryOf(string? temporary) => string.IsNullOrEmpty(temporary) ? "/tmp" : temporary;

    /// <summary>To be called after the exit of the process, before its id can have been given to many others.</summary>
    public static void Remove(int processId, string directory)
    {
        if (OperatingSystem.IsWindows())
            return;
        try
        {
            foreach (string pattern in (string[])[$"dotnet-diagnostic-{processId}-*-socket", $"clr-debug-pipe-{processId}-*-in", $"clr-debug-pipe-{processId}-*-out"])
            {
                foreach (string path in Directory.EnumerateFiles(directory, pattern))
                    File.Delete(path);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Another user's directory, or gone already.
        }
    }
}
