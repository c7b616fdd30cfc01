namespace Puma.Dataflow.Control;

/// <summary>An instance of this process, or an object that it lends.</summary>
/// <param name="instance">The instance.</param>
/// <param name="lent">The object; 0 for the runnable itself.</param>
internal sealed class InstanceTarget(InstanceControl instance, long lent = 0) : CallTarget
{
    public override ControlSession Session => instance.Outside.Arguments;

    internal override bool IsCalledFromWithin => instance.Lane.IsCurrent;

    protected override CallWatch? Watch => instance.Watch;

    protected override bool HasBegun => instance.HasBegun;

    protected override LentObjects Lent => instance.Given;

    protected override IPendingCall<TResult> Begin<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
    {
        var call = new ControlCall<TControl, TArguments, TResult>(instance, lent, member, arguments, cancellationToken);
        instance.Take(call);
        return call;
    }

    internal override void Own(string member, Task running) => instance.Own(member, running);

    internal override CommandFailedException Failed(string member, CommandFailure failure, string? reason, Exception? cause) =>
        instance.Failed(member, failure, reason, cause);
}

/// <summary>An object of a caller of this process, which was given to an instance. It is called where the instance calls it, not on any stream.</summary>
internal sealed class GivenTarget(InstanceControl instance, long id) : ControlTarget
{
    public override ControlSession Session => instance.Inside.Arguments;

    public override async ValueTask<TResult> CallAsync<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
    {
        if ((member.EndsLease ? instance.Given.Take(id) : instance.Given.Find(id)) is not TControl given)
        {
            instance.Lent.GiveBack(arguments);
            throw Failed(member.Name, CommandFailure.NotServed, InstanceControl.LeaseHasEnded, null);
        }

        try
        {
            TResult result = await member.Invoke(given, arguments, instance.Outside.Results, cancellationToken).ConfigureAwait(false);
            instance.DisposeLate();
            return result;
        }
        catch (Exception error) when (error is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
        {
            throw Failed(member.Name, CommandFailure.Threw, null, error);
        }
    }

    public override async ValueTask ReleaseAsync()
    {
        if (instance.Given.Take(id) is { } owned)
            await owned.DisposeAsync().ConfigureAwait(false);
    }

    internal override void Own(string member, Task running) => instance.Own(member, running);

    internal override CommandFailedException Failed(string member, CommandFailure failure, string? reason, Exception? cause) =>
        instance.Failed(member, failure, reason, cause);
}
