namespace Puma.Dataflow.Lifecycle;

/// <summary>Ends a task with an error that counts as seen: nobody has to wait for it (S7).</summary>
internal static class ObservedFault
{
    public static void SetObserved(this TaskCompletionSource source, Exception error)
    {
        source.TrySetException(error);
        _ = source.Task.Exception;
    }

    public static void SetObserved<T>(this TaskCompletionSource<T> source, Exception error)
    {
        source.TrySetException(error);
        _ = source.Task.Exception;
    }
}
