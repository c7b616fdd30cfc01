namespace Puma.Dataflow.Runnables;

/// <summary>Counts the emits that could not return at once: user code that does not await them leaves them behind when it returns. Any thread.</summary>
internal sealed class EmitsUnderWay
{
    private int _count;

    // Completed by the next one that leaves nobody behind; made by those who wait for that.
    private TaskCompletionSource? _none;

    public bool IsAny => Volatile.Read(ref _count) != 0;

    public void Begin() => Interlocked.Increment(ref _count);

    public void End()
    {
        if (Interlocked.Decrement(ref _count) == 0)
            Interlocked.Exchange(ref _none, null)?.SetResult();
    }

    /// <summary>Returns when there was a moment without any.</summary>
    /// <param name="wake">Makes those that wait look again whether they are still wanted.</param>
    public ValueTask WhenNoneAsync(Action wake) => IsAny ? WaitAsync(wake) : default;

    private async ValueTask WaitAsync(Action wake)
    {
        // The signal first, then the look: either this sees that none is left, or the last one sees the signal.
        var made = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        TaskCompletionSource none = Interlocked.CompareExchange(ref _none, made, null) ?? made;
        if (!IsAny)
            return;
        wake();
        await none.Task.ConfigureAwait(false);
    }
}
