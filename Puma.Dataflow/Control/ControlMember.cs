using System.ComponentModel;

namespace Puma.Dataflow.Control;

/// <summary>Neither arguments nor a result.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public readonly struct NoValue;

/// <summary>One member of a control interface, as generated code describes it. Immutable.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public abstract class ControlMember
{
    private protected ControlMember(string name, Func<ControlMember> self)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(self);
        Name = name;
        Self = self;
    }

    /// <summary>The interface and the member, for example <c>ICameraControl.PauseAsync</c>.</summary>
    public string Name { get; }

    /// <summary>Finds this object in any process of the program.</summary>
    internal Func<ControlMember> Self { get; }

    /// <summary>Shows what is called, with its types: of a stream, the member that opens it.</summary>
    internal abstract void Accept(IMemberVisitor visitor);

    /// <summary>Whether the instance does nothing else until the member has returned.</summary>
    internal bool HoldsInstance { get; init; } = true;

    /// <summary>Whether the object that it is called on is lent no longer.</summary>
    internal bool EndsLease { get; init; }

    /// <summary>Whether calls that are slow or too many are warned of.</summary>
    internal bool IsWatched { get; init; } = true;
}

/// <summary>Is shown a member with its types.</summary>
internal interface IMemberVisitor
{
    void Visit<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member)
        where TControl : class;
}

/// <summary>A member that returns a <see cref="Task"/> or <see cref="ValueTask"/>, with or without a result. Immutable.</summary>
/// <typeparam name="TControl">The interface.</typeparam>
/// <typeparam name="TArguments">All its arguments but the token: one value, a tuple of several, or <see cref="NoValue"/>.</typeparam>
/// <typeparam name="TResult">Its result, or <see cref="NoValue"/>.</typeparam>
/// <param name="name">The interface and the member.</param>
/// <param name="self">Returns this object; a static delegate without state.</param>
/// <param name="invoke">Calls the member on the object itself.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class ControlMember<TControl, TArguments, TResult>(
    string name,
    Func<ControlMember> self,
    Func<TControl, TArguments, ControlSession, CancellationToken, ValueTask<TResult>> invoke) : ControlMember(name, self)
    where TControl : class
{
    internal Func<TControl, TArguments, ControlSession, CancellationToken, ValueTask<TResult>> Invoke { get; } = invoke ?? throw new ArgumentNullException(nameof(invoke));

    internal override void Accept(IMemberVisitor visitor) => visitor.Visit(this);
}

/// <summary>A member that returns an <see cref="IAsyncEnumerable{T}"/>. Immutable.</summary>
/// <typeparam name="TControl">The interface.</typeparam>
/// <typeparam name="TArguments">All its arguments but the token: one value, a tuple of several, or <see cref="NoValue"/>.</typeparam>
/// <typeparam name="T">What it yields.</typeparam>
/// <param name="name">The interface and the member.</param>
/// <param name="self">Returns this object; a static delegate without state.</param>
/// <param name="invoke">Calls the member on the object itself.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class ControlStream<TControl, TArguments, T>(
    string name,
    Func<ControlMember> self,
    Func<TControl, TArguments, ControlSession, CancellationToken, IAsyncEnumerable<T>> invoke) : ControlMember(name, self)
    where TControl : class
{
    internal override void Accept(IMemberVisitor visitor) => visitor.Visit(Open);

    /// <summary>Starts an enumeration and lends it.</summary>
    internal ControlMember<TControl, TArguments, Remote<IRemoteStream<T>>> Open { get; } = new(
        name,
        self,
        (target, arguments, session, _) => new(session.Lend<IRemoteStream<T>>(new RemoteStream<T>(token => invoke(target, arguments, session, token), ((LendingSession)session).Steps))));
}
