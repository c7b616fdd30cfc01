namespace Puma.Dataflow.Testing;

/// <summary>
/// A sink that takes items only when a test asks for them. What it has not been asked for keeps its slot, so the stages before it feel
/// the backpressure. For <c>.To(probe)</c>; serves one run.
/// </summary>
/// <typeparam name="T">What it takes.</typeparam>
/// <remarks>
/// Members may be called from any thread, before and while the pipeline runs. How many items can wait before the probe is the capacity of
/// its stage: <c>.To(probe, new() { BoundedCapacity = 1 })</c> is the tightest.
/// </remarks>
public sealed class SinkProbe<T> : SinkRunnable<T>
{
    private readonly Lock _gate = new();
    private readonly TaskCompletionSource<RunState> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Guarded by _gate.
    private readonly List<T> _received = [];
    private readonly Queue<TaskCompletionSource<bool>> _requests = [];
    private TaskCompletionSource? _offer;
    private T _offered = default!;
    private bool _takesAll;
    private string _end = "";

    /// <summary>What was taken so far, in order. A copy.</summary>
    public IReadOnlyList<T> Received
    {
        get
        {
            lock (_gate)
                return [.. _received];
        }
    }

    /// <summary>Whether an item waits to be asked for.</summary>
    public bool HasNext
    {
        get
        {
            lock (_gate)
                return _offer is not null;
        }
    }

    /// <summary>Ends with the outcome of the run, as far as it is known at the sink, when the sink has ended.</summary>
    public Task<RunState> Ended => _ended.Task;

    /// <summary>What faulted the run or the input, when the sink has ended; otherwise null.</summary>
    public Exception? Cause { get; private set; }

    /// <summary>Asks for one item and waits for it.</summary>
    /// <exception cref="ProbeException">The sink ended before an item came.</exception>
    /// <exception cref="TimeoutException">Nothing came for a long time.</exception>
    public async Task<T> NextAsync()
    {
        (bool hasItem, T item) = await TryNextAsync().ConfigureAwait(false);
        return hasItem ? item : throw new ProbeException($"An item was asked for, but the sink has ended {_end} after {Items(Received.Count)}.");
    }

    /// <summary>Asks for a number of items, one after the other, and waits for them.</summary>
    /// <param name="count">How many.</param>
    /// <exception cref="ProbeException">The sink ended before they came.</exception>
    /// <exception cref="TimeoutException">Nothing came for a long time.</exception>
    public async Task<IReadOnlyList<T>> NextAsync(int count)
    {
        var items = new List<T>(count);
        while (items.Count < count)
            items.Add(await NextAsync().ConfigureAwait(false));
        return items;
    }

    /// <summary>Takes everything from here on without being asked.</summary>
    public void TakeAll()
    {
        TaskCompletionSource? offer;
        lock (_gate)
        {
            _takesAll = true;
            offer = TakeOfferLocked(out _);
        }

        offer?.SetResult();
    }

    /// <summary>Takes everything until the sink ends.</summary>
    /// <returns>Everything that was taken, what was asked for before included.</returns>
    /// <exception cref="TimeoutException">The sink did not end for a long time.</exception>
    public async Task<IReadOnlyList<T>> ReadToEndAsync()
    {
        TakeAll();
        await Patience.WaitAsync(_ended.Task, Describe).ConfigureAwait(false);
        return Received;
    }

    /// <summary>Waits for the end of the sink and checks that no further item comes before it.</summary>
    /// <returns>The outcome.</returns>
    /// <exception cref="ProbeException">An item came.</exception>
    /// <exception cref="TimeoutException">The sink did not end for a long time.</exception>
    public async Task<RunState> AssertNothingMoreAsync()
    {
        (bool hasItem, T item) = await TryNextAsync().ConfigureAwait(false);
        if (hasItem)
            throw new ProbeException($"Nothing more was expected after {Items(Received.Count - 1)}, but '{item}' came.");
        return await _ended.Task.ConfigureAwait(false);
    }

    /// <inheritdoc/>
    protected override async ValueTask OnItemAsync(T item, CancellationToken cancellationToken)
    {
        TaskCompletionSource<bool>? request;
        TaskCompletionSource? offer = null;
        lock (_gate)
        {
            if (_requests.TryDequeue(out request) || _takesAll)
                _received.Add(item);
            else
                (_offer, _offered) = (offer = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), item);
        }

        request?.SetResult(true);
        if (offer is null)
            return;
        try
        {
            await offer.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            lock (_gate)
            {
                // Taken in the last moment is taken.
                if (_offer is null)
                    return;
                (_offer, _offered) = (null, default!);
            }

            throw;
        }
    }

    /// <inheritdoc/>
    protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
    {
        List<TaskCompletionSource<bool>> requests;
        lock (_gate)
        {
            Cause = cause;
            _end = cause is null ? outcome.ToString() : $"{outcome} ({cause.Message})";
            _ended.SetResult(outcome);
            requests = [.. _requests];
            _requests.Clear();
        }

        requests.ForEach(static r => r.SetResult(false));
        return default;
    }

    private async Task<(bool HasItem, T Item)> TryNextAsync()
    {
        TaskCompletionSource? offer;
        TaskCompletionSource<bool> request;
        T item;
        int index;
        lock (_gate)
        {
            offer = TakeOfferLocked(out item);
            if (offer is null)
            {
                if (_ended.Task.IsCompleted)
                    return (false, default!);
                request = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
                index = _received.Count + _requests.Count;
                _requests.Enqueue(request);
            }
            else
            {
                (request, index) = (null!, 0);
            }
        }

        if (offer is not null)
        {
            offer.SetResult();
            return (true, item);
        }

        await Patience.WaitAsync(request.Task, Describe).ConfigureAwait(false);
        if (!await request.Task.ConfigureAwait(false))
            return (false, default!);
        lock (_gate)
            return (true, _received[index]);
    }

    private TaskCompletionSource? TakeOfferLocked(out T item)
    {
        (TaskCompletionSource? offer, item) = (_offer, _offered);
        if (offer is not null)
        {
            _received.Add(item);
            (_offer, _offered) = (null, default!);
        }

        return offer;
    }

    private static string Items(int count) => count == 1 ? "1 item" : $"{count} items";

    private string Describe() => $"The sink probe has taken {Items(Received.Count)} and {(HasNext ? "holds another one" : "waits for the next one")}.";
}
