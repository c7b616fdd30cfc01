namespace Puma.Dataflow.Lifecycle;

/// <summary>
/// What one reader of a <see cref="StatusBoard"/> has not read, bounded: when there is no room the oldest that came is dropped and counted, so
/// the newest is always there, and so is what the reader begins with. Belongs to its reader, but for what the board calls inside of its lock.
/// </summary>
/// <param name="gate">The board's lock, which guards everything here.</param>
/// <param name="readers">The readers of the type, of which this is one.</param>
/// <param name="kept">What was there when it began, the reader's own.</param>
/// <param name="capacity">How many reports wait at most of those that come.</param>
internal sealed class StatusReader<T>(Lock gate, List<StatusReader<T>> readers, Queue<StatusReport<T>> kept, int capacity) : IDisposable
    where T : notnull
{
    private readonly Queue<StatusReport<T>> _unread = [];

    // How many were dropped before the oldest of those.
    private long _dropped;
    private TaskCompletionSource? _changed;
    private bool _isOver;

    public void AddLocked(StatusReport<T> report)
    {
        if (_unread.Count == capacity)
            _dropped += _unread.Dequeue().Dropped + 1;
        _unread.Enqueue(report);
        Signal();
    }

    public void EndLocked()
    {
        _isOver = true;
        Signal();
    }

    public int Unread
    {
        get
        {
            lock (gate)
                return kept.Count + _unread.Count;
        }
    }

    /// <summary>Waits for the next report.</summary>
    /// <returns>Null when there are no more.</returns>
    public async ValueTask<StatusReport<T>?> ReadAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed;
            lock (gate)
            {
                // That there is no more is known whatever the token says.
                if (kept.Count == 0 && _unread.Count == 0 && _isOver)
                    return null;
                cancellationToken.ThrowIfCancellationRequested();
                if (kept.TryDequeue(out StatusReport<T>? first))
                    return first;
                if (_unread.TryDequeue(out StatusReport<T>? next))
                {
                    if (_dropped > 0)
                        next = next with { Dropped = next.Dropped + _dropped };
                    _dropped = 0;
                    return next;
                }

                _changed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    public void Dispose()
    {
        lock (gate)
            readers.Remove(this);
    }

    private void Signal()
    {
        _changed?.TrySetResult();
        _changed = null;
    }
}
