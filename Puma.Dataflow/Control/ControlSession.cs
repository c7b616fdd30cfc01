using System.ComponentModel;
using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Control;

/// <summary>A reference to an object that stays where it lives, as it travels.</summary>
/// <typeparam name="T">The interface of the object.</typeparam>
/// <param name="Id">The number of the object at its owner; 0 for null.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly record struct Remote<T>(long Id) : IRemoteReference
    where T : class
{
    /// <summary>The connection that it came by; does not travel.</summary>
    internal object? Source { get; init; }

    object? IRemoteReference.Source => Source;

    IRemoteReference IRemoteReference.From(object source) => this with { Source = source };
}

/// <summary>The objects that one side of a control connection lends to the other. Safe for any thread.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public abstract class ControlSession
{
    private protected ControlSession() { }

    /// <summary>Lends an object to the other side.</summary>
    /// <typeparam name="T">The interface by which it is used there.</typeparam>
    /// <param name="value">The object; may be null.</param>
    public abstract Remote<T> Lend<T>(T? value)
        where T : class, IAsyncDisposable;

    /// <summary>Makes the proxy of an object that the other side lends.</summary>
    /// <typeparam name="T">The interface of the object.</typeparam>
    /// <param name="remote">The object.</param>
    public abstract T? Borrow<T>(Remote<T> remote)
        where T : class, IAsyncDisposable;

    /// <summary>Calls a member that yields values and is given objects: each enumeration lends them anew, and nothing is lent before.</summary>
    /// <typeparam name="T">What it yields.</typeparam>
    /// <param name="call">Lends the objects and calls the member.</param>
    /// <param name="cancellationToken">Gives up the enumeration.</param>
    public async IAsyncEnumerable<T> StreamAsync<T>(Func<IAsyncEnumerable<T>> call, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        await foreach (T value in call().WithCancellation(cancellationToken).ConfigureAwait(false))
            yield return value;
    }
}

/// <summary>What a proxy calls: an instance of a stage, all of its instances, or an object that was lent. Safe for any thread.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public abstract class ControlTarget
{
    private protected ControlTarget() { }

    /// <summary>The connection that the calls go by.</summary>
    public abstract ControlSession Session { get; }

    /// <summary>Calls a member.</summary>
    /// <typeparam name="TControl">The interface.</typeparam>
    /// <typeparam name="TArguments">Its arguments.</typeparam>
    /// <typeparam name="TResult">Its result.</typeparam>
    /// <param name="member">The member.</param>
    /// <param name="arguments">All arguments but the token.</param>
    /// <param name="cancellationToken">Gives up the call.</param>
    public abstract ValueTask<TResult> CallAsync<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
        where TControl : class;

    /// <summary>Calls a member that yields values; nothing happens before they are enumerated.</summary>
    /// <typeparam name="TControl">The interface.</typeparam>
    /// <typeparam name="TArguments">Its arguments.</typeparam>
    /// <typeparam name="T">What it yields.</typeparam>
    /// <param name="member">The member.</param>
    /// <param name="arguments">All arguments but the token.</param>
    /// <param name="cancellationToken">Gives up the enumeration.</param>
    public virtual IAsyncEnumerable<T> StreamAsync<TControl, TArguments, T>(ControlStream<TControl, TArguments, T> member, TArguments arguments, CancellationToken cancellationToken)
        where TControl : class =>
        new StreamReader<TControl, TArguments, T>(this, member, arguments, cancellationToken);

    /// <summary>Makes the proxy of the object that a call returns.</summary>
    /// <typeparam name="T">The interface of the object.</typeparam>
    /// <param name="call">The call.</param>
    public async ValueTask<T?> BorrowAsync<T>(ValueTask<Remote<T>> call)
        where T : class, IAsyncDisposable =>
        Session.Borrow(await call.ConfigureAwait(false));

    /// <summary>Ends the lease of an object that was lent.</summary>
    public abstract ValueTask ReleaseAsync();

    /// <summary>Whether the caller is the user code of the instance, or works for it while it waits.</summary>
    internal virtual bool IsCalledFromWithin => false;

    /// <summary>Sees to the failure of what nobody waits for any more.</summary>
    internal abstract void Own(string member, Task running);

    /// <summary>Makes the failure of a call.</summary>
    internal abstract CommandFailedException Failed(string member, CommandFailure failure, string? reason, Exception? cause);
}
