using System.Collections.Concurrent;
using System.ComponentModel;
using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Control;

/// <summary>The proxies that generated code has made known. Safe for any thread.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static class ControlProxies
{
    private static readonly ConcurrentDictionary<Type, Delegate> s_makers = new()
    {
        [typeof(ITickControl)] = static ITickControl (ControlTarget target) => new TickProxy(target),
    };

    /// <summary>Makes the proxies of an interface known; called when the module is loaded that holds them.</summary>
    /// <typeparam name="TControl">The interface.</typeparam>
    /// <param name="make">Makes a proxy.</param>
    public static void Add<TControl>(Func<ControlTarget, TControl> make)
        where TControl : class
    {
        ArgumentNullException.ThrowIfNull(make);
        s_makers[typeof(TControl)] = make;
    }

    /// <summary>Makes a proxy.</summary>
    /// <exception cref="InvalidOperationException">No proxy of the interface is known.</exception>
    internal static TControl Make<TControl>(ControlTarget target)
        where TControl : class =>
        Find<TControl>()?.Invoke(target) ?? throw new InvalidOperationException(
            $"No proxy of {typeof(TControl)} was generated. Calls of Control<{typeof(TControl).Name}>(…) in an assembly that is compiled with the generator of Puma.Dataflow, which comes with the package (beside a reference to the project, refer to Puma.Dataflow.Generators with OutputItemType=\"Analyzer\"), make one; for calls through generic code mark the interface with [ControlInterface].");

    private static Func<ControlTarget, TControl>? Find<TControl>()
        where TControl : class
    {
        if (!s_makers.TryGetValue(typeof(TControl), out Delegate? make))
        {
            // An interface alone does not make its module run what it runs at its start.
            RuntimeHelpers.RunModuleConstructor(typeof(TControl).Module.ModuleHandle);
            s_makers.TryGetValue(typeof(TControl), out make);
        }

        return (Func<ControlTarget, TControl>?)make;
    }
}
