using Puma.Dataflow.Control;

namespace Puma.Dataflow.Isolation.Calls;

/// <summary>An object that the other side of a connection lends.</summary>
/// <param name="connection">The connection.</param>
/// <param name="lent">The object.</param>
/// <param name="side">What this side lends and borrows.</param>
/// <param name="failed">Makes the failure of a call.</param>
/// <param name="watch">Times the calls; null for none.</param>
/// <param name="own">Sees to the failures of what nobody waits for.</param>
internal sealed class RemoteTarget(
    CallConnection connection,
    long lent,
    Func<LendingSide> side,
    Func<string, CommandFailure, string?, Exception?, CommandFailedException> failed,
    CallWatch? watch,
    Action<string, Task> own) : CallTarget
{
    public override ControlSession Session => side().Arguments;

    internal override bool IsCalledFromWithin => connection.IsHeldByCaller;

    protected override CallWatch? Watch => watch;

    protected override LentObjects Lent => side().Mine;

    protected override IPendingCall<TResult> Begin<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
    {
        var call = new OutgoingCall<TResult>(member, connection.Codecs, failed, takeBack: null, Release, Lent, cancellationToken);
        call.Encode(lent, arguments);
        connection.Send(call);
        return call;
    }

    internal override void Own(string member, Task running) => own(member, running);

    internal override CommandFailedException Failed(string member, CommandFailure failure, string? reason, Exception? cause) => failed(member, failure, reason, cause);

    /// <summary>Ends the lease of an object that came too late for its caller. Nobody waits for it.</summary>
    private void Release(IRemoteReference late) => own(RemoteLease.End.Name, new RemoteTarget(connection, late.Id, side, failed, watch: null, own).ReleaseAsync().AsTask());
}
