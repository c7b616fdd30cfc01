using System.Diagnostics;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>Who serves a connection.</summary>
internal enum ServedBy
{
    /// <summary>The thread pool.</summary>
    Pool,

    /// <summary>Threads of its own, if it is a socket, so that it goes on although user code blocks all threads of the pool.</summary>
    OwnThreads,

    /// <summary>The same; and streams that it wakes take their turns on the thread that receives. When their user code keeps it, another one receives.</summary>
    OwnThreadsWithTurns,

    /// <summary>The same; and the stream that reads, whose <see cref="Wakeup.StaysWithReceiver"/> is set, takes its turns on the thread that receives, however long they are.</summary>
    ThreadOfReader,
}

/// <summary>Frames over one duplex connection. Any thread may write; one stream reads.</summary>
/// <remarks>Its callbacks run where it receives and sends, and must not block.</remarks>
internal sealed class FrameChannel : IAsyncDisposable
{
    private readonly int _maxPayload;
    private readonly FrameSender _sender;
    private readonly FrameReceiver _receiver;

    /// <param name="stream">The connection.</param>
    /// <param name="maxPayload">The longest encoded item, in bytes. Records are bounded by themselves.</param>
    /// <param name="onReadable">Called when more can be read, or the other side has ended.</param>
    /// <param name="onWritable">Called when the connection is congested no longer.</param>
    /// <param name="servedBy">Who serves it.</param>
    public FrameChannel(Stream stream, int maxPayload, Action onReadable, Action? onWritable = null, ServedBy servedBy = ServedBy.Pool)
    {
        DirectSocket? socket = servedBy == ServedBy.Pool ? null : DirectSocket.Of(stream);
        _maxPayload = maxPayload;
        _sender = new FrameSender(stream, socket, onWritable);

        // However small the items are to be, what became of them can be told.
        _receiver = new FrameReceiver(stream, socket, Math.Max(maxPayload, FrameFormat.MaxControl), onReadable, servedBy);
    }

    /// <inheritdoc cref="FrameSender.IsCongested"/>
    public bool IsCongested => _sender.IsCongested;

    /// <inheritdoc cref="FrameReceiver.HasEnded"/>
    public bool HasEnded => _receiver.HasEnded;

    /// <inheritdoc cref="FrameReceiver.Receiving"/>
    public Task Receiving => _receiver.Receiving;

    /// <inheritdoc cref="FrameReceiver.Long"/>
    public LongPayload LongPayload => _receiver.Long;

    /// <inheritdoc cref="FrameReceiver.Start"/>
    public void Start() => _receiver.Start();

    /// <inheritdoc cref="FrameSender.Write(FrameType, long, ReadOnlySpan{byte}, ushort, int, FrameFlags)"/>
    public void Write(FrameType type, long number = 0, ReadOnlySpan<byte> payload = default, ushort port = 0, int attempt = 0, FrameFlags flags = FrameFlags.None)
    {
        Debug.Assert(payload.Length <= FrameFormat.LongestOf(type, Math.Max(_maxPayload, FrameFormat.MaxControl)), "The writer keeps payloads within bounds.");
        _sender.Write(type, number, payload, port, attempt, flags);
    }

    /// <inheritdoc cref="FrameSender.Write(FrameType, long, PayloadWriter, ushort, int, FrameFlags, bool)"/>
    public void Write(FrameType type, long number, PayloadWriter payload, ushort port, int attempt, FrameFlags flags = FrameFlags.None, bool keepsBlocks = false)
    {
        Debug.Assert(payload.Length <= FrameFormat.LongestOf(type, _maxPayload), "The writer keeps payloads within bounds.");
        _sender.Write(type, number, payload, port, attempt, flags, keepsBlocks);
    }

    /// <inheritdoc cref="FrameSender.RoomForPacked"/>
    public Span<byte> RoomForPacked(long number) => _sender.RoomForPacked(number);

    /// <inheritdoc cref="FrameSender.AddPacked"/>
    public void AddPacked(int length) => _sender.AddPacked(length);

    /// <inheritdoc cref="FrameSender.TryEndWithLast"/>
    public bool TryEndWithLast(long number) => _sender.TryEndWithLast(number);

    /// <inheritdoc cref="FrameSender.FlushSoon"/>
    public void FlushSoon() => _sender.FlushSoon();

    /// <inheritdoc cref="FrameSender.Flush"/>
    public void Flush() => _sender.Flush();

    /// <inheritdoc cref="FrameReceiver.TryPeek"/>
    public bool TryPeek(out Frame frame) => _receiver.TryPeek(out frame);

    /// <inheritdoc cref="FrameReceiver.TryPeekPack"/>
    public bool TryPeekPack(out FramePack pack) => _receiver.TryPeekPack(out pack);

    /// <inheritdoc cref="FrameReceiver.Advance()"/>
    public void Advance() => _receiver.Advance();

    /// <inheritdoc cref="FrameReceiver.Advance(in FramePack)"/>
    public void Advance(in FramePack pack) => _receiver.Advance(pack);

    /// <summary>Whether an error says that the connection has ended, or is given up.</summary>
    public static bool IsEnd(Exception error) => error is IOException or OperationCanceledException or ObjectDisposedException;

    /// <summary>Ends both directions at once; what has not been sent is given up. The stream is the caller's to dispose.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await _sender.DisposeAsync().ConfigureAwait(false);
        }
        finally
        {
            await _receiver.DisposeAsync().ConfigureAwait(false);
        }
    }
}
