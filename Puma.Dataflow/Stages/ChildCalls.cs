using Puma.Dataflow.Control;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation.Calls;
using Puma.Dataflow.Isolation.Codec;

namespace Puma.Dataflow.Stages;

/// <summary>
/// The calls to one instance of an isolated stage: they wait while there is no child, go to the one that is there, and fail when it is
/// lost. Also runs the calls of children on objects that they were given. Any thread.
/// </summary>
internal sealed class ChildCalls
{
    private readonly ChildStage _stage;
    private readonly int _index;
    private readonly CallWatch _watch;
    private readonly Lock _gate = new();

    // Objects of callers, lent to the children: each to the one that its call went to.
    private readonly LentObjects _given = new();

    // Guarded by _gate.
    private readonly LinkedList<IOutgoingCall> _waiting = [];
    private CallConnection? _connection;

    // Written under _gate, read by any thread.
    private CommandRefusal? _refusal;

    public ChildCalls(ChildStage stage, int index, CallWatch watch)
    {
        (_stage, _index, _watch) = (stage, index, watch);
        Side = new LendingSide(_given, remote => TargetOf((CallConnection)remote.Source!, remote.Id));
        Target = new Runnable(this);
    }

    /// <summary>What callers in this process lend and borrow.</summary>
    public LendingSide Side { get; }

    /// <summary>The runnable.</summary>
    public ControlTarget Target { get; }

    /// <summary>A child is there: what has waited goes to it, in order of arrival.</summary>
    public void Attach(CallConnection connection)
    {
        lock (_gate)
        {
            // It may be gone already; what has waited waits for the next.
            if (connection.HasEnded)
                return;
            _connection = connection;
            foreach (IOutgoingCall call in _waiting)
                connection.Send(call);
            _waiting.Clear();
        }
    }

    /// <summary>A child is gone, and with it what it was called and had not answered.</summary>
    public void Detach(CallConnection connection, ChildExit exit)
    {
        var lost = new ChildProcessLostException(_stage.Name, exit, inFlight: 0);
        lock (_gate)
        {
            // Under the lock, so that what is called by whoever knows of the loss waits for the next child. Whoever attaches it later sees its end.
            connection.End(call => Volatile.Read(ref _refusal)?.Unknown("Its child had it; whether it ran is unknown.").ToException(_stage.Name, _index, call.Member.Name)
                ?? Failed(call.Member.Name, CommandFailure.ProcessLost, $"whether it ran is unknown. {lost.Message}", lost));
            if (_connection == connection)
                _connection = null;
        }

        Dispose(_given.TakeAllOf(connection));
    }

    /// <summary>Refuses all calls from here on that no child has.</summary>
    public void Close(CommandRefusal refusal)
    {
        IOutgoingCall[] left;
        lock (_gate)
        {
            _refusal ??= refusal;
            left = [.. _waiting];
            _waiting.Clear();
        }

        foreach (IOutgoingCall call in left)
            call.Fail(refusal.ToException(_stage.Name, _index, call.Member.Name));
        Dispose(_given.TakeAll());
    }

    private void Send(IOutgoingCall call)
    {
        CommandRefusal? refusal;
        lock (_gate)
        {
            refusal = _refusal;
            if (refusal is null && _connection is null)
                _waiting.AddLast(call);

            // Under the lock, so that the order stays. It only writes.
            else if (refusal is null)
                _connection!.Send(call);
        }

        if (refusal is not null)
            call.Fail(refusal.ToException(_stage.Name, _index, call.Member.Name));
    }

    private void TakeBack(IOutgoingCall call)
    {
        lock (_gate)
        {
            if (_waiting.Remove(call))
                call.GiveBack();
        }
    }

    private CommandFailedException Failed(string member, CommandFailure failure, string? reason, Exception? cause) =>
        new(_stage.Name, _index, member, failure, reason, cause);

    private RemoteTarget TargetOf(CallConnection connection, long lent) => new(connection, lent, () => Side, Failed, _watch, Own);

    /// <summary>A child calls an object that it was given. It runs on the thread pool, not on any stream.</summary>
    public void Serve<TControl, TArguments, TResult>(IncomingCall<TControl, TArguments, TResult> call)
        where TControl : class
    {
        LendingSession session = new LendingSide(_given, remote => TargetOf(call.Connection, remote.Id), holder: call.Connection).Results;
        Task served = Task.Run(async () =>
        {
            CallConnection.Enter(call);
            if ((call.Member.EndsLease ? _given.Take(call.Lent) : _given.Find(call.Lent)) is not TControl given)
                throw Failed(call.Member.Name, CommandFailure.NotServed, InstanceControl.LeaseHasEnded, null);
            try
            {
                TArguments arguments = call.ReadArguments();
                call.Encode(await InvokeAsync(call, given, arguments, session).ConfigureAwait(false));
            }
            catch (ItemCodecException error)
            {
                throw Failed(call.Member.Name, CommandFailure.NotCarried, error.Message, error);
            }

            // What it lends comes too late; who saw the end did not see this.
            if (call.Connection.HasEnded)
                Dispose(_given.TakeAllOf(call.Connection));
        });
        _stage.Graph.Own(call.AnswerAsync(served, static () => Task.CompletedTask));
    }

    /// <summary>Calls the object itself. What it throws is its own, whatever it is.</summary>
    private async ValueTask<TResult> InvokeAsync<TControl, TArguments, TResult>(IncomingCall<TControl, TArguments, TResult> call, TControl given, TArguments arguments, LendingSession session)
        where TControl : class
    {
        try
        {
            return await call.Member.Invoke(given, arguments, session, call.Token).ConfigureAwait(false);
        }
        catch (Exception error) when (error is not OperationCanceledException || !call.Token.IsCancellationRequested)
        {
            throw Failed(call.Member.Name, CommandFailure.Threw, null, error);
        }
    }

    /// <summary>The runnable of the instance, whichever child it lives in.</summary>
    private sealed class Runnable(ChildCalls calls) : CallTarget
    {
        public override ControlSession Session => calls.Side.Arguments;

        internal override bool IsCalledFromWithin
        {
            get
            {
                lock (calls._gate)
                    return calls._connection?.IsHeldByCaller == true;
            }
        }

        protected override CallWatch Watch => calls._watch;

        protected override LentObjects Lent => calls._given;

        protected override bool HasBegun
        {
            get
            {
                lock (calls._gate)
                    return calls._connection is not null;
            }
        }

        protected override IPendingCall<TResult> Begin<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member, TArguments arguments, CancellationToken cancellationToken)
        {
            var call = new OutgoingCall<TResult>(member, calls._stage.Codecs, calls.Failed, calls.TakeBack, calls.Release, calls._given, cancellationToken);
            call.Encode(0, arguments);
            calls.Send(call);
            return call;
        }

        internal override void Own(string member, Task running) => calls.Own(member, running);

        internal override CommandFailedException Failed(string member, CommandFailure failure, string? reason, Exception? cause) => calls.Failed(member, failure, reason, cause);
    }

    /// <summary>Ends the lease of an object that came too late for its caller. Nobody waits for it.</summary>
    private void Release(IRemoteReference late) => Own(RemoteLease.End.Name, TargetOf((CallConnection)late.Source!, late.Id).ReleaseAsync().AsTask());

    /// <summary>Disposes results of callers' objects, whose leases have ended by themselves: on the thread pool, where the objects run.</summary>
    private void Dispose(IAsyncDisposable[] owned)
    {
        foreach (IAsyncDisposable lent in owned)
            Own(RemoteLease.End.Name, Task.Run(() => lent.DisposeAsync().AsTask()));
    }

    /// <summary>Sees to the failure of what goes on for a member beside its call.</summary>
    public void Own(string member, Task running) => _ = OwnAsync(member, running);

    private async Task OwnAsync(string member, Task running)
    {
        try
        {
            await running.ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Log.LateCallFailed(_stage.Graph.Logger, member, _stage.Name, ExceptionText.MessageOf(error), error);
        }
    }
}
