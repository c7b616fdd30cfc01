using System.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Isolation.Calls;

/// <summary>Runs the calls of the other side. Called by the pump of the connection; must neither block nor throw.</summary>
internal interface ICallServer
{
    void Serve<TControl, TArguments, TResult>(IncomingCall<TControl, TArguments, TResult> call)
        where TControl : class;

    /// <summary>Sees to the failure of what goes on for a member beside its call.</summary>
    void Own(string member, Task running);
}

/// <summary>
/// Calls over one control connection, both ways at once. A member is told once, by its identity, and then meant by its number; a call is
/// answered exactly once, or ends with the connection.
/// </summary>
/// <remarks>Any thread calls; the pump of the connection hands over what comes. No user code runs under the lock.</remarks>
/// <param name="channel">The connection.</param>
/// <param name="codecs">Carry arguments and results.</param>
/// <param name="server">Runs the calls of the other side.</param>
/// <param name="holdsInstance">Whether the caller is the user code of the instance on this side; null when there is none.</param>
/// <param name="beforeAnswer">What its caller waits for when a call was answered, however it ends; called by the pump. Null for nothing.</param>
internal sealed class CallConnection(FrameChannel channel, Func<ItemCodecs> codecs, ICallServer server, Func<bool>? holdsInstance = null, Func<Task>? beforeAnswer = null)
{
    // The call that is being served in this flow, by which its own calls back to the instance are known.
    private static readonly AsyncLocal<IncomingCall?> s_served = new();

    private readonly Lock _gate = new();

    // Guarded by _gate.
    private readonly Dictionary<ControlMember, int> _told = [];
    private readonly Dictionary<long, IOutgoingCall> _pending = [];
    private readonly HashSet<IOutgoingCall> _holding = [];
    private readonly Dictionary<long, IncomingCall> _serving = [];
    private TaskCompletionSource? _allAnswered;
    private long _lastCall;
    private Func<IOutgoingCall, CommandFailedException>? _end;

    // The pump's own.
    private readonly List<ControlMember> _known = [];

    public ItemCodecs Codecs => codecs();

    /// <summary>Whether the connection has ended: what is sent fails.</summary>
    public bool HasEnded
    {
        get
        {
            lock (_gate)
                return _end is not null;
        }
    }

    /// <summary>Marks the flow of the caller as what serves a call.</summary>
    public static void Enter(IncomingCall call) => s_served.Value = call;

    // ---- Calls of this side. Any thread. -----------------------------------------------------------------------------------------------

    /// <summary>Whether the caller serves a call of the other side's instance, which does nothing else meanwhile.</summary>
    public bool IsHeldByCaller => s_served.Value is { HoldsInstance: true, IsAnswered: false } served && served.Connection == this;

    /// <summary>Whether the instance on this side still waits for a call, and does nothing else meanwhile.</summary>
    public bool IsHoldingInstance
    {
        get
        {
            lock (_gate)
                return _holding.Any(static call => call.IsAwaited);
        }
    }

    /// <summary>Sends a call.</summary>
    public void Send(IOutgoingCall call)
    {
        Func<IOutgoingCall, CommandFailedException>? end;
        lock (_gate)
        {
            end = _end;
            if (end is null)
                SendLocked(call);
        }

        if (end is null)
            channel.Flush();
        else
            call.Fail(end(call));
    }

    private void SendLocked(IOutgoingCall call)
    {
        if (!_told.TryGetValue(call.Member, out int number))
        {
            _told.Add(call.Member, number = _told.Count);
            var fields = new FieldWriter();
            DelegateIdentity.Of(call.Member.Self).WriteTo(fields);
            channel.Write(FrameType.ControlMember, number, fields.Written);
        }

        call.GoesBy(this, ++_lastCall);
        _pending.Add(call.Id, call);
        FrameFlags flags = IsHeldByCaller ? FrameFlags.Nested : FrameFlags.None;
        if (holdsInstance?.Invoke() == true)
        {
            _holding.Add(call);
            flags |= FrameFlags.HoldsInstance;
        }

        channel.Write(FrameType.Call, call.Id, call.Payload, (ushort)number, attempt: 0, flags);
    }

    /// <summary>Tells the other side that nobody waits for a call any more. It is answered all the same.</summary>
    public void Cancel(IOutgoingCall call)
    {
        lock (_gate)
        {
            if (!_pending.ContainsKey(call.Id))
                return;
        }

        channel.Write(FrameType.CancelCall, call.Id);
        channel.Flush();
    }

    /// <summary>Fails all calls that wait for an answer, and all further ones.</summary>
    public void End(Func<IOutgoingCall, CommandFailedException> why)
    {
        IOutgoingCall[] left;
        IncomingCall[] serving;
        lock (_gate)
        {
            if (_end is not null)
                return;
            _end = why;
            left = [.. _pending.Values];
            _pending.Clear();
            _holding.Clear();
            serving = [.. _serving.Values];
        }

        foreach (IOutgoingCall call in left)
            call.Fail(why(call));
        foreach (IncomingCall call in serving)
            call.Cancel();
    }

    // ---- What comes. The pump only. ----------------------------------------------------------------------------------------------------

    /// <returns>False when the frame has nothing to do with calls.</returns>
    /// <exception cref="ProtocolViolationException">The other side sent what no side of this library sends.</exception>
    public bool TryReceive(Frame frame)
    {
        var reader = new FieldReader(frame.Payload);
        switch (frame.Type)
        {
            case FrameType.ControlMember:
                Learn(frame.Number, DelegateIdentity.ReadFrom(ref reader));
                return true;
            case FrameType.Call:
                if (frame.Port >= _known.Count)
                    throw new ProtocolViolationException($"A call is to the control member {frame.Port}, which was never told.");
                _known[frame.Port].Accept(new Receiver(this, frame, LentIn(frame)));
                return true;
            case FrameType.CancelCall:
                lock (_gate)
                    _serving.GetValueOrDefault(frame.Number)?.Cancel();
                return true;
            case FrameType.Reply or FrameType.CallFailed:
                IOutgoingCall? pending;
                lock (_gate)
                    _pending.TryGetValue(frame.Number, out pending);

                // It waits on while its answer is looked at: one that is none ends the connection, and with that the call.
                (pending ?? throw new ProtocolViolationException($"Call {frame.Number} was answered, which waits for no answer.")).Receive(frame, beforeAnswer?.Invoke() ?? Task.CompletedTask);
                lock (_gate)
                {
                    _pending.Remove(frame.Number);
                    _holding.Remove(pending);
                }

                return true;
            default:
                return false;
        }
    }

    /// <summary>The number of the object that is called, with which the head of the payload begins.</summary>
    private static long LentIn(Frame frame)
    {
        var reader = new FieldReader(frame.Payload);
        if (frame.Flags.HasFlag(FrameFlags.HasBlocks))
        {
            for (int lengths = reader.Count(); lengths > 0; lengths--)
                reader.Int();
        }

        return reader.Long();
    }

    private void Learn(long number, DelegateIdentity identity)
    {
        if (number != _known.Count)
            throw new ProtocolViolationException($"Control member {number} was told after {_known.Count} others.");
        try
        {
            _known.Add(((Func<ControlMember>)identity.Resolve())());
        }
        catch (Exception error)
        {
            throw new ProtocolViolationException($"The control member {identity.DeclaringType} cannot be found here: {error.Message}", error);
        }
    }

    // ---- Answers to the other side. Any thread. ------------------------------------------------------------------------------------------

    /// <summary>Answers a call that was served.</summary>
    public void Reply(long id, PayloadWriter result)
    {
        channel.Write(FrameType.Reply, id, result, port: 0, attempt: 0, keepsBlocks: true);
        channel.Flush();
        Forget(id);
    }

    /// <inheritdoc cref="Reply"/>
    public void Fail(long id, CommandFailure failure, string reason, Exception? cause, bool hasRun = false)
    {
        var fields = new FieldWriter();
        fields.Byte((byte)failure);
        fields.Text(reason, maxBytes: 8 * 1024);
        if (cause is not null)
            ErrorRecord.Of(cause).WriteTo(fields);
        channel.Write(FrameType.CallFailed, id, fields.Written, flags: hasRun ? FrameFlags.HasRun : FrameFlags.None);
        channel.Flush();
        Forget(id);
    }

    /// <summary>Ends when every call of the other side was answered that came so far.</summary>
    public Task WhenAnsweredAsync()
    {
        lock (_gate)
            return _serving.Count == 0 ? Task.CompletedTask : (_allAnswered ??= new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
    }

    private void Forget(long id)
    {
        TaskCompletionSource? allAnswered = null;
        lock (_gate)
        {
            _serving.Remove(id);
            if (_serving.Count == 0)
                (allAnswered, _allAnswered) = (_allAnswered, null);
        }

        allAnswered?.TrySetResult();
    }

    private sealed class Receiver(CallConnection connection, Frame frame, long lent) : IMemberVisitor
    {
        public void Visit<TControl, TArguments, TResult>(ControlMember<TControl, TArguments, TResult> member)
            where TControl : class
        {
            var call = new IncomingCall<TControl, TArguments, TResult>(connection, frame.Number, lent, member, frame.Payload.ToArray(), frame.Flags);
            lock (connection._gate)
            {
                if (!connection._serving.TryAdd(frame.Number, call))
                    throw new ProtocolViolationException($"Call {frame.Number} came again before it was answered.");
            }

            connection.Server.Serve(call);
        }
    }

    public ICallServer Server => server;
}
