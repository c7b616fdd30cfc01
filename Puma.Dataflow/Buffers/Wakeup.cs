using System.Threading.Tasks.Sources;

namespace Puma.Dataflow.Buffers;

/// <summary>Wakes the one reader or writer of a link.</summary>
internal interface ILinkEnd
{
    /// <summary>Something changed; look again. Any thread, never blocks, never runs user code.</summary>
    void Wake();

    /// <summary>The reader of a link took what was queued, all of it together. Called for the reader's end, by the reader.</summary>
    void OnBurstTaken() { }

    /// <summary>The reader of a link wants no more. Called for the writer's end only.</summary>
    void OnReaderClosed();

    /// <summary>A turn of the stream gives back what it has kept back: wakes who sleeps though there is something for him. Any thread, after a fence.</summary>
    void EndTurn(Turn turn) { }

    /// <summary>The stream waits; what it has left for the rest of its turn is done now, on the thread of the turn. Must not throw.</summary>
    void UseRestOfTurn(Turn turn) { }
}

/// <summary>
/// An auto-reset signal for one waiter at a time, which allocates nothing. A signal that comes while nobody waits is kept, so a waiter that
/// looks at its conditions after each wait misses nothing; it may be woken for nothing. A second waiter, which only a wait of user code
/// outside of its callback can be, looks again until the first one is gone.
/// </summary>
internal sealed class Wakeup : IValueTaskSource, IThreadPoolWorkItem
{
    private const int Idle = 0;
    private const int Signaled = 1;
    private const int Waiting = 2;

    // Signaled while somebody waited, who has not taken the signal yet; the core is the waiter's until then.
    private const int Resuming = 3;

    private GivingAway _givingAway;
    private bool _isQuick;
    private int _state;
    private ManualResetValueTaskSourceCore<bool> _core;

    // Set while the waiter is to be queued as soon as it awaits, and not before: it must not find that it need not leave the thread.
    private bool? _yields;

    /// <summary>Whose stream waits; null when that has no turns. Written by the waiter, before it waits.</summary>
    public ILinkEnd? Stream { get; private set; }

    /// <summary>Whether its last turn was short, or its items were, so that the next one may keep things back. Any thread.</summary>
    public bool IsQuick
    {
        get => Volatile.Read(ref _isQuick);
        set => Volatile.Write(ref _isQuick, value);
    }

    /// <summary>Learns whether other threads are to have it when its keeper has more to go on with.</summary>
    public ref GivingAway GivingAway => ref _givingAway;

    /// <summary>Whether the thread that receives for the waiter, and wakes it, is where it goes on. Written before the first wait.</summary>
    public bool StaysWithReceiver { get; set; }

    /// <summary>Signals. Any thread.</summary>
    public void Set()
    {
        if (TrySetForCaller() && !Turn.TryKeep(this))
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: true);
    }

    /// <summary>Signals, and leaves it to the caller to let the waiter go on. Any thread.</summary>
    /// <returns>Whether there is one; if so, it must go on (<see cref="Turn"/>).</returns>
    public bool TrySetForCaller()
    {
        // Between what the caller changed and the look at the state: either this sees the waiter, or the waiter sees the change.
        Interlocked.MemoryBarrier();
        while (true)
        {
            switch (Volatile.Read(ref _state))
            {
                case Idle when Interlocked.CompareExchange(ref _state, Signaled, Idle) == Idle:
                    return false;
                case Waiting when Interlocked.CompareExchange(ref _state, Resuming, Waiting) == Waiting:
                    return true;
                case Signaled or Resuming:
                    return false;
            }
        }
    }

    /// <summary>Waits for the next signal, or takes the kept one.</summary>
    /// <param name="stream">Whose stream waits, if it has turns.</param>
    public ValueTask WaitAsync(ILinkEnd? stream = null)
    {
        Stream = stream;
        switch (Interlocked.CompareExchange(ref _state, Waiting, Idle))
        {
            case Idle:
                return new ValueTask(this, _core.Version);
            case Signaled when Interlocked.CompareExchange(ref _state, Idle, Signaled) == Signaled:
                return default;
            default:
                return LookAgainAsync();
        }
    }

    /// <summary>Leaves the thread, and goes on with a turn of the stream. Takes a kept signal: look at everything again.</summary>
    /// <param name="stream">Whose stream it is, if it has turns.</param>
    /// <param name="preferLocal">Whether it goes on before what others have for the thread, as soon as that is free.</param>
    public ValueTask YieldAsync(ILinkEnd? stream, bool preferLocal = false)
    {
        Stream = stream;
        if (Interlocked.CompareExchange(ref _state, Resuming, Idle) != Idle && Interlocked.CompareExchange(ref _state, Resuming, Signaled) != Signaled)
            return LookAgainAsync();
        _yields = preferLocal;
        return new ValueTask(this, _core.Version);
    }

    /// <summary>The waiter goes on here, on the thread pool, behind whoever signaled.</summary>
    void IThreadPoolWorkItem.Execute() => Turn.Take(this);

    /// <summary>Lets the waiter go on. Returns when it waits again.</summary>
    public void Resume() => _core.SetResult(true);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
    {
        bool? yields = _yields;
        _yields = null;
        _core.OnCompleted(continuation, state, token, flags);
        if (yields is { } preferLocal)
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal);
    }

    void IValueTaskSource.GetResult(short token)
    {
        _core.GetResult(token);
        _core.Reset();

        // Only now may the next wait begin. What was signaled since the waiter was woken, it sees after this.
        Interlocked.Exchange(ref _state, Idle);
    }

    private static async ValueTask LookAgainAsync() => await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
}
