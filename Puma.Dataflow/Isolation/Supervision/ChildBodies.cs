using Puma.Dataflow.Isolation.Launch;
using Puma.Dataflow.Logging;

namespace Puma.Dataflow.Isolation.Supervision;

/// <summary>Makes the other end of an isolated stage, wherever its placement says.</summary>
internal static class ChildBodies
{
    /// <exception cref="ChildStartException">The child did not start.</exception>
    /// <exception cref="IsolationNotSupportedException">This program cannot start children.</exception>
    public static Task<IChildBody> StartAsync(Placement placement, string stage, ChildLog log, TimeProvider time, CancellationToken cancellationToken) => placement switch
    {
        LoopbackPlacement => Task.FromResult<IChildBody>(new LoopbackBody(time)),
        ChildProcessPlacement child => ChildLauncher.StartAsync(child, stage, log.AddLine, cancellationToken),
        _ => throw new NotSupportedException($"{placement.GetType().Name} has no children."),
    };
}
