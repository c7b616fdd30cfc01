namespace Puma.Dataflow.Control;

/// <summary>A reference of any type.</summary>
internal interface IRemoteReference
{
    long Id { get; }
}

/// <summary>One side of a session.</summary>
/// <param name="mine">The objects that this side lends.</param>
/// <param name="borrow">Makes the target of an object that the other side lends.</param>
/// <param name="steps">Where this side's enumerations go on after a wait; null for the thread pool.</param>
internal sealed class LendingSession(LentObjects mine, Func<long, ControlTarget> borrow, SynchronizationContext? steps = null) : ControlSession
{
    public SynchronizationContext? Steps => steps;

    public override Remote<T> Lend<T>(T? value)
        where T : class => new(mine.Add(value));

    public override T? Borrow<T>(Remote<T> remote)
        where T : class => remote.Id == 0 ? null : ControlProxies.Make<T>(TargetOf(remote.Id));

    public ControlTarget TargetOf(long id) => borrow(id);
}
