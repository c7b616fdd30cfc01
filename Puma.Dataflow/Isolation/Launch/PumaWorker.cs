using Puma.Dataflow.Isolation.Launch;

namespace Puma.Dataflow;

/// <summary>The explicit way into a child process, for programs in which start-up hooks are off: trimmed, ahead-of-time compiled, hardened.</summary>
public static class PumaWorker
{
    /// <summary>
    /// To be called in the first line of <c>Main</c>. In a child process it does the child's work and ends the process; it does not return.
    /// Everywhere else it returns at once and notes that children of this program may be started in this way.
    /// </summary>
    public static void RunIfChild()
    {
        if (ChildMain.IsChild)
            ChildMain.Run();
        LaunchCommand.IsMainPrepared = true;
    }
}
