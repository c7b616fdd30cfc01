namespace Puma.Dataflow;

/// <summary>What the cause of a failure tells, alike whether it happened in this process or in another one.</summary>
internal static class FailureCause
{
    /// <summary>Whether an exception is, or was caused by, one of a type.</summary>
    public static bool Is<T>(Exception? cause)
        where T : Exception
    {
        for (Exception? error = cause; error is not null; error = error.InnerException)
        {
            if (IsOf<T>(error) || (error is AggregateException aggregate && aggregate.Flatten().InnerExceptions.Any(IsOf<T>)))
                return true;
            if (error is RemoteRunnableException { InnerExceptions.Count: > 1 } remote && remote.InnerExceptions.Any(IsOf<T>))
                return true;
        }

        return false;
    }

    /// <summary>The process in which it happened.</summary>
    public static int ProcessOf(Exception? cause) => cause switch
    {
        RemoteRunnableException remote => remote.ProcessId,
        ChildProcessLostException { Exit.ProcessId: > 0 and var child } => child,
        TimeoutException { InnerException: RemoteRunnableException remote } => remote.ProcessId,
        _ => Environment.ProcessId,
    };

    /// <summary>The short name of its original type.</summary>
    public static string TypeNameOf(Exception cause) =>
        cause is RemoteRunnableException remote ? remote.TypeName[(remote.TypeName.LastIndexOf('.') + 1)..] : cause.GetType().Name;

    private static bool IsOf<T>(Exception error)
        where T : Exception =>
        error is T || (error is RemoteRunnableException remote && remote.Is<T>());
}
