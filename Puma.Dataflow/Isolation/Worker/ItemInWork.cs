namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Notes the item in work where it outlives the process.</summary>
internal interface IWorkMark
{
    void Begin(long number);

    void End();

    /// <summary>Notes why the process cannot go on, and ends it.</summary>
    void GiveUp(string reason);
}

/// <summary>The item that a worker handles: its token, and what the parent says of it meanwhile.</summary>
/// <remarks>The worker's stream begins and ends it; the control pump limits which items are begun and ends the time of the one in work.</remarks>
/// <param name="mark">Where it is noted; null for nowhere.</param>
/// <param name="discardToken">Fires when everything is given up.</param>
internal sealed class ItemInWork(IWorkMark? mark, CancellationToken discardToken)
{
    private readonly Lock _gate = new();

    // Written inside of _gate, but for the number, which the stream writes without it when it goes on within a pack, and when the item is left.
    // Number, attempt and whether its time is up are read by outputs on any thread, too.
    private CancellationTokenSource _source = CancellationTokenSource.CreateLinkedTokenSource(discardToken);
    private long _number;
    private int _attempt;
    private bool _isRunning;
    private bool _isTimedOut;

    // The item that nobody wants any more; it may not have been begun yet.
    private long _canceled;

    // Set by the stream before the first item.
    private AttemptTime? _time;
    private long _limit = long.MaxValue;

    /// <summary>Its number, also between two attempts; 0 when there is none.</summary>
    public long Number => Volatile.Read(ref _number);

    public int Attempt => Volatile.Read(ref _attempt);

    /// <summary>Whether the time of the attempt in work has run out.</summary>
    public bool HasRunOut => Volatile.Read(ref _isTimedOut) || _time is { HasRunOut: true };

    /// <summary>Whether a lower item has failed.</summary>
    public bool IsAboveLimit(long number) => number > Volatile.Read(ref _limit);

    /// <summary>From now on, attempts are measured here, too.</summary>
    public void Measure(AttemptTime time) => _time = time;

    /// <summary>The time of the attempt stands still: it waits for a slot.</summary>
    public void Pause() => _time?.Pause();

    public void Resume() => _time?.Resume();

    /// <summary>Notes the item before it is decoded, which may end the process, too.</summary>
    public void Announce(long number) => mark?.Begin(number);

    /// <summary>Takes the note back: the item is not begun.</summary>
    public void Withdraw() => mark?.End();

    /// <summary>Begins an attempt.</summary>
    /// <returns>False when a lower item has failed, so that this one is not begun any more.</returns>
    public bool TryBegin(long number, int attempt, out CancellationToken token)
    {
        lock (_gate)
        {
            token = default;
            if (IsAboveLimit(number))
                return false;
            if (_source.IsCancellationRequested || _canceled == number)
            {
                _source.Dispose();
                _source = CancellationTokenSource.CreateLinkedTokenSource(discardToken);
            }

            (_number, _attempt, _isRunning) = (number, attempt, true);
            token = _source.Token;

            // Nobody has registered anything there yet.
            if (_canceled == number)
                _source.Cancel();
        }

        mark?.Begin(number);
        _time?.Begin();
        return true;
    }

    /// <summary>Goes on with the next item of a pack. The stream only; without the lock, because nothing is said of single items of a pack.</summary>
    public void GoOn(long number)
    {
        Volatile.Write(ref _number, number);
        mark?.Begin(number);
    }

    /// <summary>Ends an attempt.</summary>
    /// <returns>Whether its time had run out.</returns>
    public bool EndAttempt()
    {
        mark?.End();
        lock (_gate)
        {
            bool isTimedOut = HasRunOut;
            _time?.End();
            (_isRunning, _isTimedOut) = (false, false);
            return isTimedOut;
        }
    }

    /// <summary>Forgets the item, which is settled. Without the lock: a limit that still sees it fires a token that nobody uses any more.</summary>
    public void Leave() => Volatile.Write(ref _number, 0);

    /// <summary>Ends the process, in which nothing can be relied on any more, if it is only there for this code.</summary>
    public void GiveUp(string reason) => mark?.GiveUp(reason);

    /// <summary>The time of an attempt has run out: its token fires if it is still in work.</summary>
    public Task TimeOutAsync(long number, byte attempt)
    {
        lock (_gate)
        {
            if (!_isRunning || _number != number || Math.Min(_attempt, byte.MaxValue) != attempt)
                return Task.CompletedTask;
            _isTimedOut = true;

            // Inside the lock, so that it does not hit the next item. The callbacks run elsewhere.
            return _source.CancelAsync();
        }
    }

    /// <summary>Nobody wants an item any more: its token fires, also when it is still on its way.</summary>
    public Task CancelAsync(long number)
    {
        lock (_gate)
        {
            _canceled = number;
            return _isRunning && _number == number ? _source.CancelAsync() : Task.CompletedTask;
        }
    }

    /// <summary>No item above this one is begun any more; the token of one in work fires.</summary>
    public Task LimitAsync(long number)
    {
        lock (_gate)
        {
            Volatile.Write(ref _limit, number);
            return _number > number ? _source.CancelAsync() : Task.CompletedTask;
        }
    }
}
