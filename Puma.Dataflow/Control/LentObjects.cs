namespace Puma.Dataflow.Control;

/// <summary>The objects that one side lends to the other, by their numbers. Safe for any thread.</summary>
internal sealed class LentObjects
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly Dictionary<long, Lent> _objects = [];
    private long _last;

    public int Count
    {
        get
        {
            lock (_gate)
                return _objects.Count;
        }
    }

    /// <param name="value">The object.</param>
    /// <param name="isOwned">Whether it is disposed with its lease.</param>
    /// <returns>Its number; 0 for null.</returns>
    public long Add(IAsyncDisposable? value, bool isOwned)
    {
        if (value is null)
            return 0;
        lock (_gate)
        {
            _objects.Add(++_last, new Lent(value, isOwned));
            return _last;
        }
    }

    public IAsyncDisposable? Find(long id)
    {
        lock (_gate)
            return _objects.GetValueOrDefault(id).Value;
    }

    /// <summary>Ends the lease of an object.</summary>
    /// <returns>What is to be disposed: the object, or nothing when it stays its owner's. Null when the lease had ended before.</returns>
    public IAsyncDisposable? Take(long id)
    {
        lock (_gate)
            return _objects.Remove(id, out Lent lent) ? lent.IsOwned ? lent.Value : Nothing.Instance : null;
    }

    /// <summary>Ends all leases.</summary>
    /// <returns>What is to be disposed.</returns>
    public IAsyncDisposable[] TakeAll()
    {
        lock (_gate)
        {
            IAsyncDisposable[] owned = [.. _objects.Values.Where(static l => l.IsOwned).Select(static l => l.Value)];
            _objects.Clear();
            return owned;
        }
    }

    private readonly record struct Lent(IAsyncDisposable Value, bool IsOwned);

    private sealed class Nothing : IAsyncDisposable
    {
        public static readonly Nothing Instance = new();

        public ValueTask DisposeAsync() => default;
    }
}
