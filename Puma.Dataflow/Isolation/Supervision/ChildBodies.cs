using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation.Launch;

namespace Puma.Dataflow.Isolation.Supervision;

/// <summary>Makes the other end of an isolated stage, wherever its placement says.</summary>
internal static class ChildBodies
{
    /// <exception cref="ChildStartException">The child did not start.</exception>
    /// <exception cref="IsolationNotSupportedException">This program cannot start children.</exception>
    public static Task<IChildBody> StartAsync(Placement placement, string stage, ILogger logger, TimeProvider time, CancellationToken cancellationToken) => placement switch
    {
        LoopbackPlacement => Task.FromResult<IChildBody>(new LoopbackBody(time)),
        ChildProcessPlacement child => ChildLauncher.StartAsync(child, stage, (isError, line) => Write(logger, isError, line), cancellationToken),
        _ => throw new NotSupportedException($"{placement.GetType().Name} has no children."),
    };

    private static void Write(ILogger logger, bool isError, string line)
    {
        if (isError)
            Log.ChildWroteError(logger, line);
        else
            Log.ChildWrote(logger, line);
    }
}
