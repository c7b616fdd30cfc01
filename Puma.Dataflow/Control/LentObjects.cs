using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Control;

/// <summary>The objects that one side lends to the other, by their numbers. Safe for any thread.</summary>
internal sealed class LentObjects
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly Dictionary<long, Lent> _objects = [];
    private long _last;

    /// <param name="value">The object.</param>
    /// <param name="isOwned">Whether it is disposed with its lease.</param>
    /// <param name="holder">The connection with which its lease ends; null when it is not known yet, or there is none.</param>
    /// <returns>Its number; 0 for null.</returns>
    public long Add(IAsyncDisposable? value, bool isOwned, object? holder)
    {
        if (value is null)
            return 0;
        lock (_gate)
        {
            _objects.Add(++_last, new Lent(value, isOwned, holder));
            return _last;
        }
    }

    /// <summary>Lends objects by a connection: their leases end with it at the latest.</summary>
    public void Bind(long[] ids, object holder)
    {
        lock (_gate)
        {
            foreach (long id in ids)
            {
                if (_objects.TryGetValue(id, out Lent lent))
                    _objects[id] = lent with { Holder = holder };
            }
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
    public IAsyncDisposable[] TakeAll() => TakeAll(static _ => true);

    /// <summary>Ends all leases of a connection.</summary>
    /// <returns>What is to be disposed.</returns>
    public IAsyncDisposable[] TakeAllOf(object holder) => TakeAll(lent => lent.Holder == holder);

    private IAsyncDisposable[] TakeAll(Func<Lent, bool> isMeant)
    {
        List<IAsyncDisposable> owned = [];
        lock (_gate)
        {
            foreach ((long id, Lent lent) in _objects)
            {
                if (!isMeant(lent))
                    continue;
                _objects.Remove(id);
                if (lent.IsOwned)
                    owned.Add(lent.Value);
            }
        }

        return [.. owned];
    }

    /// <summary>Ends the leases of the arguments of a call that never runs.</summary>
    public void GiveBack<TArguments>(TArguments arguments) => GiveBack(In(arguments));

    /// <inheritdoc cref="GiveBack{TArguments}(TArguments)"/>
    public void GiveBack(long[] ids)
    {
        foreach (long id in ids)
            Take(id);
    }

    /// <summary>The objects among the arguments of a call.</summary>
    public static long[] In<TArguments>(TArguments arguments) => !Kind<TArguments>.HasObjects ? []
        : arguments is IRemoteReference one ? [one.Id]
        : arguments is ITuple several ? [.. Enumerable.Range(0, several.Length).Select(i => several[i]).OfType<IRemoteReference>().Select(static r => r.Id)]
        : [];

    private static class Kind<TArguments>
    {
        public static readonly bool HasObjects = Has(typeof(TArguments));

        private static bool Has(Type type) =>
            type.IsAssignableTo(typeof(IRemoteReference)) || (type.IsAssignableTo(typeof(ITuple)) && Array.Exists(type.GetGenericArguments(), Has));
    }

    private readonly record struct Lent(IAsyncDisposable Value, bool IsOwned, object? Holder);

    private sealed class Nothing : IAsyncDisposable
    {
        public static readonly Nothing Instance = new();

        public ValueTask DisposeAsync() => default;
    }
}
