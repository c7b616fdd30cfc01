using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Calls;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Hands the calls that come from the parent to the instance, and answers as they end. The pump of the control connection calls.</summary>
/// <param name="drainLog">Ends when what was logged so far is written: it is in the log before the caller goes on.</param>
internal sealed class InstanceServer(Func<Task> drainLog) : ICallServer
{
    /// <summary>How long what was logged before an answer may hold it up.</summary>
    private static readonly TimeSpan LogGrace = TimeSpan.FromSeconds(1);

    /// <summary>Set before the first call can come.</summary>
    public InstanceControl Instance { get; set; } = null!;

    /// <summary>An object of the parent that was given to the instance.</summary>
    public RemoteTarget TargetOf(CallConnection calls, long given) => new(calls, given, () => Instance.Inside, Instance.Failed, watch: null, (member, running) => Instance.Own(member, running));

    void ICallServer.Serve<TControl, TArguments, TResult>(IncomingCall<TControl, TArguments, TResult> call)
    {
        var command = new ReceivedCall<TControl, TArguments, TResult>(Instance, call);
        call.Token.UnsafeRegister(static state => ((ReceivedCall<TControl, TArguments, TResult>)state!).GiveUp(), command);

        // Not when the instance has given up the call to the object that calls here: it does something else by now.
        if (call.IsNested && call.Connection.IsHoldingInstance)
            Instance.TakeNested(command);
        else
            Instance.Lane.Add(command);
        _ = call.AnswerAsync(command.Result, () => drainLog().WaitAsync(LogGrace, TimeProvider.System));
    }

    void ICallServer.Own(string member, Task running) => Instance.Own(member, running);

    /// <summary>A call whose arguments are decoded when it runs: on the instance's stream, because their types are the user's.</summary>
    private sealed class ReceivedCall<TControl, TArguments, TResult>(InstanceControl instance, IncomingCall<TControl, TArguments, TResult> call)
        : ControlCall<TControl, TArguments, TResult>(instance, call.Lent, call.Member, default!, call.Token)
        where TControl : class
    {
        private readonly IncomingCall<TControl, TArguments, TResult> _call = call;

        /// <summary>Says when it never ran, so that its caller takes back what it gave.</summary>
        public override void GiveUp()
        {
            if (TryTakeBack())
                Refuse(new(CommandFailure.NotServed, "its caller had given it up before it ran."));
            else if (HasBegun == true)
                base.GiveUp();
        }

        public override ValueTask RunAsync(InstanceControl instance, Runnable runnable, CancellationToken cancellationToken)
        {
            // What its token does when it fires may be on its way still.
            if (_call.Token.IsCancellationRequested)
                GiveUp();
            return base.RunAsync(instance, runnable, cancellationToken);
        }

        protected override TArguments ReadArguments() => _call.ReadArguments();

        protected override void Carry(TResult result) => _call.Encode(result);
    }
}
