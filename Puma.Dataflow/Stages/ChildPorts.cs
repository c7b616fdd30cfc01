using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>An input of an isolated stage.</summary>
internal abstract class ChildInput
{
    /// <summary>Whether the child was told that this input has ended.</summary>
    public bool IsEndTold { get; set; }

    public abstract bool HasEnded { get; }

    public abstract bool TryTake(out HeldInput item);
}

/// <inheritdoc/>
internal sealed class ChildInput<T>(StageNode stage, Link<T> link, ItemCodecs codecs, Func<T, int>? keyHash) : ChildInput
{
    private readonly ItemCodec<T> _codec = codecs.For<T>();
    private readonly Stack<Held> _spares = [];

    public override bool HasEnded => link.End is not null;

    public override bool TryTake(out HeldInput item)
    {
        item = null!;
        if (!link.TryRead(out T value))
            return false;
        link.CountReceived();
        Held held = _spares.TryPop(out Held? spare) ? spare : new Held(this);
        held.Value = value;
        item = held;
        return true;
    }

    private sealed class Held(ChildInput<T> input) : HeldInput(input)
    {
        private readonly ChildInput<T> _input = input;

        public T Value { get; set; } = default!;

        public override object? Untyped => Value;

        public override void Encode(PayloadWriter writer) => _input._codec.Write(writer, Value);

        protected override ValueTask BookAsync(Fate fate)
        {
            if (fate.Kind != FateKind.Delivered)
                return _input.Stage.SettleAsync(_input.Link, Value, Number, fate);
            _input.Stage.Counters.CountDelivered();
            _input.Link.Release(1);
            return default;
        }

        public override int KeyHash() => _input.KeyHashOf is { } hash ? hash(Value) : 0;

        public override void Recycle()
        {
            base.Recycle();
            Value = default!;
            _input._spares.Push(this);
        }
    }

    private StageNode Stage => stage;

    private Link<T> Link => link;

    private Func<T, int>? KeyHashOf => keyHash;
}

/// <summary>An output of one child. Belongs to the stage's stream.</summary>
internal abstract class ChildOutput
{
    /// <summary>Slots that the child may use again and was not told of.</summary>
    public long Owed { get; set; }

    /// <summary>Passes a result on.</summary>
    /// <returns>False when the next link has no slot, or is the only one and shut, so that the stage is about to give up; the same result must then be tried again first.</returns>
    /// <exception cref="ItemCodecException">The type of the result, or its codec, threw when it was made again. It is given up.</exception>
    /// <exception cref="ProtocolViolationException">The result is malformed.</exception>
    /// <param name="frame">The result.</param>
    /// <param name="longPayload">The array of a long frame, in which it may be.</param>
    public abstract bool TryPass(in Frame frame, LongPayload? longPayload);

    public abstract Link To { get; }
}

/// <inheritdoc/>
internal sealed class ChildOutput<T>(StageNode stage, Link<T> link, ItemCodecs codecs) : ChildOutput
{
    private readonly ItemCodec<T> _codec = codecs.For<T>();
    private readonly PayloadReader _reader = new();
    private T _value = default!;
    private bool _hasValue;

    public override Link To => link;

    public override bool TryPass(in Frame frame, LongPayload? longPayload)
    {
        if (!_hasValue)
        {
            try
            {
                _reader.Reset(frame.Payload, (frame.Flags & FrameFlags.HasBlocks) != 0, longPayload);
                _value = _codec.Read(_reader);
                _reader.Keep();
            }
            catch (Exception error)
            {
                _reader.Release();
                if (error is ItemCodecException { IsMalformed: false })
                    throw;
                throw new ProtocolViolationException($"A result for '{link.To}' cannot be decoded: {ExceptionText.MessageOf(error)}", error);
            }

            _hasValue = true;
        }

        if (link.IsShut && stage.Outputs.Length > 1)
        {
            // One of several outputs is finished: what goes there is given up, the others go on.
            stage.NoteDiscarded(_value, DiscardReason.NoDemand);
        }
        else if (!stage.TryOffer(link, _value))
        {
            link.AskForSlot();
            if (!stage.TryOffer(link, _value))
                return link.IsShut && stage.Outputs.Length > 1 && TryPass(frame, longPayload);
        }

        (_value, _hasValue) = (default!, false);
        return true;
    }
}
