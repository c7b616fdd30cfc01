using System.Runtime.CompilerServices;

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

    /// <summary>Whether there are objects among arguments of a type.</summary>
    public static bool AreIn<TArguments>() => Kind<TArguments>.HasObjects;

    /// <summary>Ends the leases of objects that were lent as the arguments of a call that never runs.</summary>
    public void GiveBack<TArguments>(TArguments arguments)
    {
        if (!AreIn<TArguments>())
            return;
        if (arguments is IRemoteReference one)
        {
            Take(one.Id);
        }
        else if (arguments is ITuple several)
        {
            for (int i = 0; i < several.Length; i++)
            {
                if (several[i] is IRemoteReference remote)
                    Take(remote.Id);
            }
        }
    }

    private static class Kind<TArguments>
    {
        public static readonly bool HasObjects = Has(typeof(TArguments));

        private static bool Has(Type type) =>
            type.IsAssignableTo(typeof(IRemoteReference)) || (type.IsAssignableTo(typeof(ITuple)) && Array.Exists(type.GetGenericArguments(), Has));
    }

    private readonly record struct Lent(IAsyncDisposable Value, bool IsOwned);

    private sealed class Nothing : IAsyncDisposable
    {
        public static readonly Nothing Instance = new();

        public ValueTask DisposeAsync() => default;
    }
}
