using System.Diagnostics.CodeAnalysis;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Isolation.Supervision;

/// <summary>Puts what one child reports onto the board of its stage. Believes nothing. Belongs to the control pump of the child, but for what is said to be any thread's.</summary>
/// <param name="codecs">How values are carried.</param>
/// <param name="board">The board.</param>
/// <param name="instance">Which instance of the stage the child is.</param>
/// <param name="onDropped">Hears of a report whose type, or codec, threw when it was made again. It is dropped, and counted as such.</param>
internal sealed class StatusReceiver(ItemCodecs codecs, StatusBoard board, int instance, Action<ItemCodecException> onDropped)
{
    private readonly List<Topic> _topics = [];
    private readonly PayloadReader _reader = new();
    private long _told;

    // Written by the pump, read by anyone.
    private long _taken;

    /// <summary>The last report that is on the board. Any thread.</summary>
    public long Taken => Volatile.Read(ref _taken);

    /// <exception cref="ProtocolViolationException">No type of this program that can be carried has the name, or it is not its turn.</exception>
    public void AddType(long index, string name)
    {
        if (index != _topics.Count || index >= StatusRecord.MaxTypes)
            throw new ProtocolViolationException($"A child announced status type {index} after {_topics.Count} others.");
        _topics.Add(MakeTopic(DelegateIdentity.TryFindType(name) ?? throw new ProtocolViolationException($"A child reports a status of type '{name}', which this program does not have.")));
    }

    /// <exception cref="ProtocolViolationException">The report cannot be, or is malformed.</exception>
    public void Add(in Frame frame)
    {
        var fields = new FieldReader(frame.Payload);
        var record = StatusRecord.ReadFrom(ref fields);
        if (frame.Port >= _topics.Count)
            throw new ProtocolViolationException($"A child sent a report of type {frame.Port} without its name.");
        if (frame.Number <= _taken || record.Dropped >= frame.Number)
            throw new ProtocolViolationException($"A child sent report {frame.Number}, before which {record.Dropped} were dropped, after report {_taken}.");
        try
        {
            _reader.Reset(record.Value, frame.Flags.HasFlag(FrameFlags.HasBlocks));
            _topics[frame.Port].Add(_reader, record);
        }
        catch (ItemCodecException error) when (!error.IsMalformed)
        {
            _reader.Release();
            _topics[frame.Port].Drop(record);
            onDropped(error);
        }
        catch (Exception error)
        {
            throw new ProtocolViolationException($"A report of a child cannot be decoded: {ExceptionText.MessageOf(error)}", error);
        }

        Volatile.Write(ref _taken, frame.Number);
    }

    /// <summary>Whether the child may be told that more was taken.</summary>
    public bool TryTell(out long taken)
    {
        taken = _taken;
        bool isNews = taken > _told;
        _told = taken;
        return isNews;
    }

    [UnconditionalSuppressMessage("Trimming", "IL2055", Justification = "A trimmed program plugs in a codec of its own and reports types that it uses itself.")]
    [UnconditionalSuppressMessage("AOT", "IL3050", Justification = "As above.")]
    [UnconditionalSuppressMessage("Trimming", "IL2067", Justification = "As above.")]
    [UnconditionalSuppressMessage("Trimming", "IL2072", Justification = "As above.")]
    private Topic MakeTopic(Type type)
    {
        if (type == typeof(StageState))
            throw new ProtocolViolationException("A child reports the state of its stage.");
        try
        {
            return (Topic)Activator.CreateInstance(typeof(Topic<>).MakeGenericType(type), codecs, board, instance)!;
        }
        catch (Exception error)
        {
            throw new ProtocolViolationException($"A child reports a status of type {type}, which cannot be carried.", error);
        }
    }

    private abstract class Topic
    {
        /// <summary>How many were dropped here since the last one.</summary>
        protected long Dropped { get; set; }

        public abstract void Add(PayloadReader payload, in StatusRecord record);

        /// <summary>Counts a report that cannot be shown, with those that were dropped before it.</summary>
        public void Drop(in StatusRecord record) => Dropped += record.Dropped + 1;
    }

    private sealed class Topic<T>(ItemCodecs codecs, StatusBoard board, int instance) : Topic
        where T : notnull
    {
        private readonly ItemCodec<T> _codec = codecs.For<T>();

        public override void Add(PayloadReader payload, in StatusRecord record)
        {
            T value = _codec.Read(payload);
            payload.Keep();
            ArgumentNullException.ThrowIfNull(value);
            board.Add(new StatusReport<T>(value, instance, new DateTimeOffset(record.Time, TimeSpan.Zero), record.Dropped + Dropped));
            Dropped = 0;
        }
    }
}
