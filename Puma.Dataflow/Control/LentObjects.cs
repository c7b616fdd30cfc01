namespace Puma.Dataflow.Control;

/// <summary>The objects that one side lends to the other, by their numbers. Safe for any thread.</summary>
internal sealed class LentObjects
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly Dictionary<long, IAsyncDisposable> _objects = [];
    private long _last;

    public int Count
    {
        get
        {
            lock (_gate)
                return _objects.Count;
        }
    }

    /// <returns>Its number; 0 for null.</returns>
    public long Add(IAsyncDisposable? value)
    {
        if (value is null)
            return 0;
        lock (_gate)
        {
            _objects.Add(++_last, value);
            return _last;
        }
    }

    public IAsyncDisposable? Find(long id)
    {
        lock (_gate)
            return _objects.GetValueOrDefault(id);
    }

    /// <summary>Takes an object back; null when it is gone.</summary>
    public IAsyncDisposable? Take(long id)
    {
        lock (_gate)
            return _objects.Remove(id, out IAsyncDisposable? value) ? value : null;
    }

    public IAsyncDisposable[] TakeAll()
    {
        lock (_gate)
        {
            IAsyncDisposable[] all = [.. _objects.Values];
            _objects.Clear();
            return all;
        }
    }
}
