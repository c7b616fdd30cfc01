namespace Puma.Dataflow.Runnables;

/// <summary>Lets one emit in at a time: user code that does not await its emits must not get into its own. Any thread.</summary>
internal sealed class EmitGate
{
    private const int Nobody = 0;
    private const int Passing = 1; // leaves without waiting for anything
    private const int Staying = 2; // may wait, and signals that it has left

    // Changed by who enters and by who is inside.
    private int _inside = Nobody;

    // Completed by the next one that leaves after a stay; made by those who want to enter after it.
    private TaskCompletionSource? _left;

    /// <summary>Enters, to leave without waiting for anything.</summary>
    /// <returns>False when another one is inside.</returns>
    public bool TryEnter() => Interlocked.CompareExchange(ref _inside, Passing, Nobody) == Nobody;

    /// <summary>Says that who has entered may wait: it leaves by <see cref="LeaveAfterStay"/>.</summary>
    public void Stay() => Volatile.Write(ref _inside, Staying);

    /// <summary>Leaves without having waited.</summary>
    public void Leave() => Volatile.Write(ref _inside, Nobody);

    /// <summary>Leaves after a stay.</summary>
    public void LeaveAfterStay()
    {
        Interlocked.Exchange(ref _inside, Nobody);
        Interlocked.Exchange(ref _left, null)?.SetResult();
    }

    /// <summary>Enters when all others have left.</summary>
    /// <param name="wake">Makes who waits inside look again whether it is still wanted.</param>
    public async ValueTask EnterAsync(Action wake)
    {
        while (Interlocked.CompareExchange(ref _inside, Passing, Nobody) is not Nobody and int other)
        {
            if (other == Passing)
            {
                await Task.Yield();
                continue;
            }

            // The signal first, then the look: either this sees that the other has left, or the other sees the signal.
            var made = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            TaskCompletionSource left = Interlocked.CompareExchange(ref _left, made, null) ?? made;
            if (Volatile.Read(ref _inside) != Staying)
                continue;
            wake();
            await left.Task.ConfigureAwait(false);
        }
    }
}
