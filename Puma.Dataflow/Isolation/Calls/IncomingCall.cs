using System.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Calls;

/// <summary>A call that came from another process.</summary>
internal abstract class IncomingCall
{
    /// <summary>Fires its token: nobody waits for it any more. Any thread; called by the pump, so what is registered runs elsewhere.</summary>
    public abstract void Cancel();

    public abstract CallConnection Connection { get; }

    /// <summary>Whether an instance of the other side handles nothing else until it is answered.</summary>
    public abstract bool HoldsInstance { get; }

    /// <summary>Whether it was answered. Set once, by who answers; read by any thread.</summary>
    public bool IsAnswered { get; protected set; }
}

/// <inheritdoc/>
internal sealed class IncomingCall<TControl, TArguments, TResult>(CallConnection connection, long id, long lent, ControlMember<TControl, TArguments, TResult> member, byte[] payload, FrameFlags flags) : IncomingCall
    where TControl : class
{
    private readonly CancellationTokenSource _canceled = new();

    // Written by who runs the call, before its result is known; read by who answers it.
    private readonly PayloadWriter _encoded = new();
    private bool _hasRun;

    public override CallConnection Connection => connection;

    public override bool HoldsInstance => flags.HasFlag(FrameFlags.HoldsInstance);

    /// <summary>Whether the instance waits for it, by way of an object of the other side.</summary>
    public bool IsNested => flags.HasFlag(FrameFlags.Nested);

    public ControlMember<TControl, TArguments, TResult> Member => member;

    /// <summary>The object that is called; 0 for the runnable itself.</summary>
    public long Lent => lent;

    public CancellationToken Token => _canceled.Token;

    public override void Cancel() => connection.Server.Own(member.Name, _canceled.CancelAsync());

    /// <exception cref="ItemCodecException">They could not be carried.</exception>
    public TArguments ReadArguments()
    {
        if (typeof(TArguments) == typeof(NoValue))
            return default!;
        var reader = new PayloadReader();
        reader.Reset(new ReadOnlySequence<byte>(payload), flags.HasFlag(FrameFlags.HasBlocks));
        reader.Skip(sizeof(long));
        return connection.Codecs.For<TArguments>().Read(reader);
    }

    /// <summary>Encodes the result: where the member ran, before anything else there can change it.</summary>
    /// <exception cref="ItemCodecException">It cannot be carried.</exception>
    public void Encode(TResult result)
    {
        _hasRun = true;
        if (typeof(TResult) == typeof(NoValue))
            return;
        connection.Codecs.For<TResult>().Write(_encoded, result);
        if (_encoded.Length > FrameFormat.MaxCall)
            throw new ItemCodecException(typeof(TResult), null, $"the encoded result has {_encoded.Length} bytes; at most {FrameFormat.MaxCall} can travel with a call");
        _encoded.OwnBlocks();
    }

    /// <summary>Answers the call when it has ended, whatever way. Never throws.</summary>
    /// <param name="ended">Ends when its result is encoded, or with its failure.</param>
    /// <param name="before">What comes before the answer, however it ends.</param>
    public async Task AnswerAsync(Task ended, Func<Task> before)
    {
        Exception? why = null;
        try
        {
            await ended.ConfigureAwait(false);
        }
        catch (Exception error)
        {
            why = error;
        }

        IsAnswered = true;
        await before().ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (why is null)
            connection.Reply(id, _encoded);
        else if (why is CommandFailedException failure)
            connection.Fail(id, failure.Failure, failure.Reason, failure.InnerException, _hasRun);
        else
            connection.Fail(id, CommandFailure.Threw, ExceptionText.MessageOf(why), why);
    }
}
