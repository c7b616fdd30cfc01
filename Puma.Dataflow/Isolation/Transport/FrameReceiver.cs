using System.Buffers;
using System.Diagnostics;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>
/// Receives bytes into one buffer, behind those that were not read yet, and takes frames off its front. So no frame is cut, and a small one
/// costs no more than a look at its header. A frame that is longer than the buffer gets an array of its own.
/// </summary>
/// <remarks>
/// A pump receives and one stream reads. The pump goes on as long as there is room; then it parks, and touches nothing until the reader has
/// made room, which that does when it finds no whole frame.
/// <para>
/// The pump of a socket has a thread of its own, on which the stream that it wakes may take its turn. Whoever keeps the thread there too long
/// loses the pump to another one.
/// </para>
/// </remarks>
/// <param name="stream">The connection.</param>
/// <param name="socket">The same, if it is used directly.</param>
/// <param name="maxLength">The longest payload that is accepted.</param>
/// <param name="onReadable">Called by the pump when more can be read, or the other side has ended; must neither block nor throw.</param>
/// <param name="servedBy">Whose thread the pump of a socket has.</param>
internal sealed class FrameReceiver(Stream stream, DirectSocket? socket, int maxLength, Action onReadable, ServedBy servedBy)
{
    private const int BufferLength = 128 * 1024;

    /// <summary>With less room than that the pump parks: many small receives would cost more than moving a part of a frame.</summary>
    private const int LeastRoom = 8 * 1024;

    /// <summary>So much memory is taken for a long frame before its bytes come; beyond it, twice as much as has come.</summary>
    private const int Believed = 16 * 1024 * 1024;

    private readonly CancellationTokenSource _closing = new();
    private readonly byte[] _own = new byte[BufferLength];

    // One for each time that the pump parks: the reader has made room.
    private readonly SemaphoreSlim _roomMade = new(0);

    // Where the pump receives, and up to where. Written by the reader, while the pump is parked.
    private byte[] _buffer = [];
    private int _limit;

    // How much of it is received. Written by the pump, but while that is parked by the reader; read by the reader at any time.
    private int _received;

    // Tells the reader that the pump has parked. Set by the pump, behind _received; cleared by the reader.
    private bool _isParked;

    // Set by the pump, behind all that was received.
    private bool _isOver;

    // The pump's: whether the last receive has parked it, so that it waits for room before the next one. It goes with the pump to another thread.
    private bool _mustWait;

    // Ends with the pump of a socket.
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // The reader's.
    private int _begin;
    private int _needed = FrameFormat.HeaderLength;
    private uint _sequence;
    private Frame _frame;
    private bool _hasFrame;
    private bool _endsItem;

    // What is left of the pack that is read, and where in it the frame begins that is shown.
    private FramePack _pack;
    private FramePack _packAtFrame;
    private bool _isOfPack;

    /// <summary>The array of the last frame, if that is a long one.</summary>
    public LongPayload Long { get; } = new();

    /// <summary>Whether the other side has ended and everything that it sent was read. Reader only.</summary>
    public bool HasEnded { get; private set; }

    /// <summary>Ends when nothing more will be received, because either side has ended. What was received may still be unread.</summary>
    public Task Receiving { get; private set; } = Task.CompletedTask;

    /// <summary>Begins to receive.</summary>
    public void Start()
    {
        (_buffer, _limit) = (_own, _own.Length);
        if (socket is null)
        {
            Receiving = Task.Run(ReceiveAsync);
            return;
        }

        Receiving = _ended.Task;
        StartPump();
    }

    /// <summary>Shows the next frame, which stays until <see cref="Advance()"/>; its payload stays until the next one is looked for.</summary>
    /// <exception cref="ProtocolViolationException">The other side sent what is no frame.</exception>
    public bool TryPeek(out Frame frame)
    {
        while (!_hasFrame && !TryTakeOfPack() && !TryTake() && TryMakeRoom())
        {
        }

        frame = _frame;
        return _hasFrame;
    }

    /// <summary>Shows the rest of the pack that the frame begins which is shown; <see cref="Advance(in FramePack)"/> goes on behind what was read of it.</summary>
    /// <returns>False when that frame is of no pack.</returns>
    public bool TryPeekPack(out FramePack pack)
    {
        pack = _packAtFrame;
        return _hasFrame && _isOfPack;
    }

    /// <summary>Goes on to the next frame. The last result of an item is followed by the end of the item, which came with it.</summary>
    public void Advance()
    {
        _frame = _endsItem ? new Frame(FrameType.Done, 0, _frame.Attempt, FrameFlags.None, _frame.Number, default) : default;
        (_hasFrame, _endsItem, _isOfPack) = (_endsItem, false, false);
    }

    /// <summary>Goes on behind what was read of the pack.</summary>
    public void Advance(in FramePack pack)
    {
        Debug.Assert(_hasFrame && _isOfPack, "The pack was shown.");
        _pack = pack;
        (_frame, _hasFrame, _endsItem, _isOfPack) = (default, false, false, false);
    }

    /// <summary>Ends the pump at once. A socket was shut before, by the sender's disposal.</summary>
    /// <exception cref="Exception">What a callback has thrown.</exception>
    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync().ConfigureAwait(false);
        await Receiving.ConfigureAwait(false);
        _closing.Dispose();
        _roomMade.Dispose();
    }

    // ---- The reader's. ---------------------------------------------------------------------------------------------------------------

    /// <summary>Takes a payload off the front of the pack.</summary>
    private bool TryTakeOfPack()
    {
        if (_pack.IsEmpty)
            return false;
        _packAtFrame = _pack;
        long number = _pack.Number;
        if (!_pack.TryTake(out int at, out int length))
            throw new ProtocolViolationException($"In a pack of {(_pack.HasResults ? "results" : "items")}, item {number} has a length that cannot be.");
        _endsItem = _pack.HasResults;
        _frame = new Frame(_endsItem ? FrameType.Result : FrameType.Item, _pack.Port, _pack.Attempt, FrameFlags.None, number, new ReadOnlySequence<byte>(_pack.Bytes, at, length));
        _hasFrame = _isOfPack = true;
        return true;
    }

    /// <summary>Takes a whole frame off the front.</summary>
    private bool TryTake()
    {
        int received = Volatile.Read(ref _received) - _begin;
        if (received < _needed)
            return false;
        byte[] buffer = _buffer;
        FrameHeader header = FrameFormat.Read(buffer.AsSpan(_begin, FrameFormat.HeaderLength), maxLength, _sequence);
        if (received - FrameFormat.HeaderLength < header.Length)
        {
            _needed = FrameFormat.HeaderLength + header.Length;
            return false;
        }

        // First what may refuse the frame: nobody gets past it then.
        int payload = _begin + FrameFormat.HeaderLength;
        bool isPack = header.Type is FrameType.PackedItems or FrameType.PackedResults;
        if (isPack)
            _pack = new FramePack(header, buffer, payload);
        _begin = payload + header.Length;
        _needed = FrameFormat.HeaderLength;
        _sequence++;
        if (isPack)
            return TryTakeOfPack();

        _endsItem = header.Type == FrameType.LastResult;
        _frame = new Frame(_endsItem ? FrameType.Result : header.Type, header.Port, header.Attempt, header.Flags, header.Number, new ReadOnlySequence<byte>(buffer, payload, header.Length));
        _hasFrame = true;
        return true;
    }

    /// <summary>Makes room for the rest of the next frame, if the pump has none.</summary>
    /// <returns>Whether to look again.</returns>
    private bool TryMakeRoom()
    {
        if (Volatile.Read(ref _isParked))
        {
            // All that the pump has received is there to be seen now.
            int kept = _received - _begin;
            if (kept >= _needed)
                return true;
            bool fits = _needed <= _own.Length;
            Span<byte> received = _buffer.AsSpan(_begin, kept);
            byte[] next = fits ? _own : Long.Hold((int)Math.Min(_needed, Math.Max(Believed, 2L * kept)), received);
            if (fits)
            {
                received.CopyTo(next);
                Long.Release();
            }

            // A long frame has its array for itself.
            (_buffer, _begin, _received, _limit) = (next, 0, kept, fits ? next.Length : Math.Min(_needed, next.Length));
            Volatile.Write(ref _isParked, false);
            _roomMade.Release();

            // A pump that has ended does not come back to tell of it.
            return Volatile.Read(ref _isOver);
        }

        // A frame that was cut off by the other side's end is no frame.
        if (!Volatile.Read(ref _isOver))
            return false;
        if (Volatile.Read(ref _received) - _begin >= _needed)
            return true;
        HasEnded = true;
        return false;
    }

    // ---- The pump's. -----------------------------------------------------------------------------------------------------------------

    private async Task ReceiveAsync()
    {
        try
        {
            while (true)
            {
                int count = await stream.ReadAsync(_buffer.AsMemory(_received, _limit - _received), _closing.Token).ConfigureAwait(false);
                if (count == 0)
                    return;
                OnReceived(count);
                onReadable();
                if (_mustWait)
                    await _roomMade.WaitAsync(_closing.Token).ConfigureAwait(false);
            }
        }
        catch (Exception error) when (FrameChannel.IsEnd(error))
        {
            // As good as the end of the stream.
        }
        finally
        {
            OnEnded();
        }
    }

    private void StartPump() => PumpThread.Start(ReceiveOnThread, "puma-receive");

    private void ReceiveElsewhere()
    {
        try
        {
            StartPump();
        }
        catch (Exception error)
        {
            // There is no memory for a thread, or there may be no more of them.
            OnEnded();
            _ended.SetException(error);
        }
    }

    private void ReceiveOnThread()
    {
        bool isOver = true;
        try
        {
            try
            {
                isOver = TryReceiveAll(socket!);
            }
            catch (Exception error) when (FrameChannel.IsEnd(error))
            {
                // As good as the end of the stream.
            }
            finally
            {
                if (isOver)
                    OnEnded();
            }

            if (isOver)
                _ended.SetResult();
        }
        catch (Exception error)
        {
            _ended.SetException(error);
        }
    }

    /// <returns>False when another thread has the pump now.</returns>
    private bool TryReceiveAll(DirectSocket from)
    {
        while (true)
        {
            if (_mustWait)
                _roomMade.Wait(_closing.Token);
            int count = from.Receive(_buffer.AsSpan(_received, _limit - _received));
            if (count == 0)
                return true;
            OnReceived(count);
            if (servedBy == ServedBy.OwnThreads)
                onReadable();
            else if (!Turn.TakeWoken(onReadable, servedBy == ServedBy.ThreadOfReader ? null : ReceiveElsewhere))
                return false;
        }
    }

    private void OnReceived(int count)
    {
        int room = _limit - _received - count;
        _mustWait = room < LeastRoom && (room == 0 || _buffer == _own);
        Volatile.Write(ref _received, _received + count);
        if (_mustWait)
            Volatile.Write(ref _isParked, true);
    }

    private void OnEnded()
    {
        Volatile.Write(ref _isOver, true);
        onReadable();
    }
}
