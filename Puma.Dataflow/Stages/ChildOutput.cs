using System.Runtime.CompilerServices;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

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

    /// <summary>Passes results of a pack on, as many as the next link has slots for. What it leaves otherwise is for <see cref="TryPass"/>.</summary>
    /// <param name="pack">Goes on behind those that were passed on.</param>
    /// <param name="most">How many at most.</param>
    /// <returns>False when the next link has no slot, which it was asked for.</returns>
    public abstract bool TryPassMany(ref FramePack pack, int most);

    public abstract Link To { get; }
}

/// <inheritdoc/>
internal sealed class ChildOutput<T>(StageNode stage, Link<T> link, ItemCodecs codecs) : ChildOutput
{
    private readonly ItemCodec<T> _codec = codecs.For<T>();
    private readonly PayloadReader _reader = new();
    private readonly T[] _burst = new T[Turn.ItemsPerLook];
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

    public override bool TryPassMany(ref FramePack pack, int most)
    {
        if (_hasValue || link.FullMode != FullMode.Wait)
            return true;
        int room = link.Capacity - link.SlotsHeld;
        if (room == 0)
        {
            link.AskForSlot();
            room = link.Capacity - link.SlotsHeld;
            if (room == 0)
                return link.IsShut;
        }

        FramePack rest = pack;
        Span<T> values = _burst.AsSpan(0, Math.Min(_burst.Length, Math.Min(most, room)));
        int count = _codec.ReadMany(_reader, ref rest, values);

        // Only a link that is shut meanwhile takes less: the stage is about to give up. What it leaves is read once more then, to be given up by itself.
        int passed = link.WriteMany(values[..count], Turn.Here);
        if (RuntimeHelpers.IsReferenceOrContainsReferences<T>())
            values.Clear();
        if (passed == count)
            pack = rest; // Without a look at each length once more.
        else
            pack.Skip(passed);
        return true;
    }
}
