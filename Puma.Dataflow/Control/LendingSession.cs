namespace Puma.Dataflow.Control;

/// <summary>A reference of any type.</summary>
internal interface IRemoteReference
{
    long Id { get; }

    /// <summary>The connection that it came by; null within this process.</summary>
    object? Source { get; }

    /// <summary>The same reference, bound to the connection that it came by: the numbers of another one mean other objects.</summary>
    IRemoteReference From(object source);
}

/// <summary>What one side of a session lends and borrows. Safe for any thread.</summary>
/// <param name="mine">The objects that this side lends.</param>
/// <param name="borrow">Makes the target of an object that the other side lends.</param>
/// <param name="steps">Where this side's enumerations go on after a wait; null for the thread pool.</param>
/// <param name="holder">The connection by which all that it lends goes; null when it is not known yet, or there is none.</param>
internal sealed class LendingSide(LentObjects mine, Func<IRemoteReference, ControlTarget> borrow, SynchronizationContext? steps = null, object? holder = null)
{
    /// <summary>The objects that this side lends.</summary>
    public LentObjects Mine => mine;

    /// <summary>For the calls of this side: what is lent as an argument stays its owner's.</summary>
    public LendingSession Arguments { get; } = new(mine, borrow, steps, ownsLent: false, holder);

    /// <summary>For the members that the other side calls: what is lent as a result is disposed with its lease.</summary>
    public LendingSession Results { get; } = new(mine, borrow, steps, ownsLent: true, holder);
}

/// <inheritdoc cref="LendingSide"/>
internal sealed class LendingSession(LentObjects mine, Func<IRemoteReference, ControlTarget> borrow, SynchronizationContext? steps, bool ownsLent, object? holder) : ControlSession
{
    public SynchronizationContext? Steps => steps;

    public override Remote<T> Lend<T>(T? value)
        where T : class => new(mine.Add(value, ownsLent, holder));

    public override T? Borrow<T>(Remote<T> remote)
        where T : class => remote.Id == 0 ? null : ControlProxies.Make<T>(TargetOf(remote));

    public ControlTarget TargetOf(IRemoteReference remote) => borrow(remote);
}
