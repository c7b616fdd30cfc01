using System.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Calls;

/// <summary>A call that goes to another process.</summary>
internal interface IOutgoingCall
{
    ControlMember Member { get; }

    PayloadWriter Payload { get; }

    /// <summary>Its number at the connection that it goes by.</summary>
    long Id { get; }

    /// <summary>The connection that it goes by; null while it waits for one.</summary>
    CallConnection? Connection { get; }

    /// <summary>Whether its caller still waits for it. Any thread.</summary>
    bool IsAwaited { get; }

    /// <summary>Says that it goes by a connection, with which the leases of its arguments end. Called once, under the lock of the connection.</summary>
    void GoesBy(CallConnection connection, long id);

    /// <summary>Takes the answer. The pump only: nothing is decoded here.</summary>
    /// <param name="frame">The answer.</param>
    /// <param name="before">What the caller waits for, too, however it ends.</param>
    /// <exception cref="ProtocolViolationException">It is none.</exception>
    void Receive(Frame frame, Task before);

    void Fail(CommandFailedException failure);

    /// <summary>Ends the leases of its arguments, because it never runs.</summary>
    void GiveBack();
}

/// <inheritdoc/>
/// <param name="member">The member.</param>
/// <param name="codecs">Carry its arguments and its result.</param>
/// <param name="failed">Makes its failure.</param>
/// <param name="takeBack">Takes it back if it has gone nowhere yet; null when it goes at once.</param>
/// <param name="release">Ends the lease of an object that nobody has got.</param>
/// <param name="given">What its arguments were lent from.</param>
/// <param name="callerToken">Gives up the call.</param>
internal sealed class OutgoingCall<TResult>(
    ControlMember member,
    ItemCodecs codecs,
    Func<string, CommandFailure, string?, Exception?, CommandFailedException> failed,
    Action<IOutgoingCall>? takeBack,
    Action<IRemoteReference> release,
    LentObjects given,
    CancellationToken callerToken) : IOutgoingCall, IPendingCall<TResult>
{
    private readonly TaskCompletionSource<TResult> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // What its arguments lend. Set before it goes anywhere.
    private long[] _lent = [];

    public ControlMember Member => member;

    public PayloadWriter Payload { get; } = new();

    public long Id { get; private set; }

    public CallConnection? Connection { get; private set; }

    public Task<TResult> Result => _result.Task;

    public bool IsAwaited => !_result.Task.IsCompleted;

    public bool? HasBegun => Connection is null ? false : null;

    /// <summary>Encodes the arguments.</summary>
    /// <exception cref="CommandFailedException">They cannot be carried, or no result can.</exception>
    public void Encode<TArguments>(long lent, TArguments arguments)
    {
        _lent = LentObjects.In(arguments);
        try
        {
            System.Buffers.Binary.BinaryPrimitives.WriteInt64LittleEndian(Payload.GetSpan(sizeof(long)), lent);
            Payload.Advance(sizeof(long));
            if (typeof(TArguments) != typeof(NoValue))
                codecs.For<TArguments>().Write(Payload, arguments);

            // Before it runs, when it would run for nothing.
            if (typeof(TResult) != typeof(NoValue))
                _ = codecs.For<TResult>();
            if (Payload.Length > FrameFormat.MaxCall)
                throw new ItemCodecException(typeof(TArguments), null, $"the encoded arguments have {Payload.Length} bytes; at most {FrameFormat.MaxCall} can travel with a call");
        }
        catch (ItemCodecException error)
        {
            GiveBack();
            throw failed(member.Name, CommandFailure.NotCarried, error.Message, error);
        }
    }

    public void GoesBy(CallConnection connection, long id)
    {
        (Connection, Id) = (connection, id);
        given.Bind(_lent, connection);
    }

    public void GiveBack() => given.GiveBack(_lent);

    // Taken back before its caller goes on, who is told whether it was on its way. The other side hears last: what it calls back here then
    // finds nobody who waits.
    public void GiveUp()
    {
        if (_result.Task.IsCompleted)
            return;
        takeBack?.Invoke(this);
        _result.TrySetCanceled(callerToken);
        Connection?.Cancel(this);
    }

    public void Fail(CommandFailedException failure) => Fail(failure, hasRun: false);

    private void Fail(CommandFailedException failure, bool hasRun)
    {
        // What a member was given that has run, it may have kept.
        if (failure.Failure != CommandFailure.Threw && !hasRun)
            GiveBack();
        _result.TrySetException(failure);
    }

    public void Receive(Frame frame, Task before)
    {
        byte[] payload = frame.Payload.ToArray();
        FrameFlags flags = frame.Flags;
        if (frame.Type == FrameType.Reply)
            _ = TakeAfterAsync(before, () => Take(payload, flags.HasFlag(FrameFlags.HasBlocks)));
        else if (ReadFailure(payload) is var failure)
            _ = TakeAfterAsync(before, () => Fail(failure, flags.HasFlag(FrameFlags.HasRun)));
    }

    private static async Task TakeAfterAsync(Task before, Action take)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.ForceYielding | ConfigureAwaitOptions.SuppressThrowing);
        take();
    }

    private void Take(byte[] payload, bool hasBlocks)
    {
        try
        {
            var reader = new PayloadReader();
            reader.Reset(new ReadOnlySequence<byte>(payload), hasBlocks);
            TResult result = typeof(TResult) == typeof(NoValue) ? default! : codecs.For<TResult>().Read(reader);
            if (result is IRemoteReference remote)
                result = (TResult)remote.From(Connection!);
            if (!_result.TrySetResult(result) && result is IRemoteReference { Id: not 0 } late)
                release(late);
        }
        catch (Exception error)
        {
            Fail(failed(member.Name, CommandFailure.NotCarried, error.Message, error), hasRun: true);
        }
    }

    /// <exception cref="ProtocolViolationException">It is none.</exception>
    private CommandFailedException ReadFailure(byte[] payload)
    {
        var reader = new FieldReader(new ReadOnlySequence<byte>(payload));
        var failure = (CommandFailure)reader.Byte();
        if (!Enum.IsDefined(failure))
            throw new ProtocolViolationException($"A call failed for the unknown reason {(byte)failure}.");
        string reason = reader.RequiredText();
        return failed(member.Name, failure, reason, reader.IsAtEnd ? null : ErrorRecord.ReadFrom(ref reader).ToException());
    }
}
