using System.Threading.Tasks.Sources;

namespace Puma.Dataflow.Buffers;

/// <summary>Wakes the one reader or writer of a link.</summary>
internal interface ILinkEnd
{
    /// <summary>Something changed; look again. Any thread, never blocks, never runs user code.</summary>
    void Wake();

    /// <summary>The reader of a link wants no more. Called for the writer's end only.</summary>
    void OnReaderClosed();
}

/// <summary>
/// An auto-reset signal with one waiter at a time, which allocates nothing. A signal that comes while nobody waits is kept,
/// so a waiter that looks at its conditions after each wait misses nothing; it may be woken for nothing.
/// </summary>
internal sealed class Wakeup : IValueTaskSource
{
    private const int Idle = 0;
    private const int Signaled = 1;
    private const int Waiting = 2;

    private int _state;
    private ManualResetValueTaskSourceCore<bool> _core = new() { RunContinuationsAsynchronously = true };

    /// <summary>Signals. Any thread.</summary>
    public void Set()
    {
        // The exchange is also the full fence between what the caller changed and the waiter's state.
        if (Interlocked.Exchange(ref _state, Signaled) == Waiting)
            _core.SetResult(true);
    }

    /// <summary>Waits for the next signal, or takes the kept one. One caller at a time.</summary>
    public ValueTask WaitAsync()
    {
        int before = Interlocked.CompareExchange(ref _state, Waiting, Idle);
        if (before == Idle)
            return new ValueTask(this, _core.Version);
        if (before == Waiting)
            throw new InvalidOperationException("Two waits at once on one stage: await each EmitAsync before the next one.");
        Interlocked.Exchange(ref _state, Idle);
        return default;
    }

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);

    void IValueTaskSource.GetResult(short token)
    {
        _core.GetResult(token);
        _core.Reset();

        // Only now may the next wait begin: a signal that comes from here on is kept for it.
        Interlocked.Exchange(ref _state, Idle);
    }
}
