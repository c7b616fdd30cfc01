using System.Runtime.InteropServices;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>
/// Gathers frames, and sends them in bursts: whatever was written while one burst was on its way is the next one. Who flushes sends the
/// first burst itself, as far as the connection takes it at once, so that no other thread has to be woken for a few frames.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class FrameSender
{
    private const int Congestion = 1024 * 1024;
    private const int ChunkLength = 64 * 1024;

    /// <summary>With so many bursts who flushes goes on itself; what comes then is for another thread.</summary>
    private const int MostOwnBursts = 4;

    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _closing = new();
    private readonly LongArrays _arrays = new();

    private readonly Stream _stream;
    private readonly DirectSocket? _socket;
    private readonly Action? _onWritable;
    private readonly LateSignal _late;

    // Guarded by _gate: full chunks and blocks in their order, then what is being filled.
    private List<Chunk> _chunks = [];
    private byte[]? _filling;
    private int _filled;
    private uint _sequence;
    private bool _isClosed;

    // Guarded by _gate: whether somebody sends; he sees what is written meanwhile.
    private bool _isSending;

    // Guarded by _gate: whether a burst was begun since the late signal last came.
    private bool _hasTakenBurst;

    // Completed when he has ended, once the connection is closed.
    private TaskCompletionSource? _ended;
    private Exception? _failure;

    // Guarded by _gate: where the last frame begins in what is being filled; negative when it is not there any more.
    private int _lastFrame = -1;

    // Results that gather. Made by the stream that reads, inside of _gate; outside of it, that stream alone uses it.
    private ResultPack? _results;

    // Whether the late signal comes by for them. Set by the stream, which lets it come; cleared by the signal.
    private volatile bool _isWatched;

    // The sender's: what is on its way, and how much of it the connection has taken.
    private List<Chunk> _burst = [];
    private int _sentChunks;
    private int _sentOfNext;

    // The sender's: the thread that goes on where the connection takes no more at once, and what lets it.
    private readonly SemaphoreSlim _handedOver = new(0);
    private Task? _thread;

    // Written inside of _gate.
    private long _unsent;

    /// <param name="stream">The connection.</param>
    /// <param name="socket">The same, if it is used directly.</param>
    /// <param name="onWritable">Called when the connection is congested no longer; must not block.</param>
    public FrameSender(Stream stream, DirectSocket? socket, Action? onWritable)
    {
        (_stream, _socket, _onWritable) = (stream, socket, onWritable);
        _late = new LateSignal(FlushLate);
    }

    /// <summary>Whether so much waits to be sent that no more should be written.</summary>
    public bool IsCongested => Volatile.Read(ref _unsent) > Congestion;

    /// <summary>Writes a frame; it goes out with the next <see cref="Flush"/>. Once the connection has ended nothing happens.</summary>
    public void Write(FrameType type, long number, ReadOnlySpan<byte> payload, ushort port, int attempt, FrameFlags flags)
    {
        lock (_gate)
        {
            if (_isClosed)
                return;
            Span<byte> frame = BeginFrameLocked(type, number, payload.Length, port, attempt, flags, together: payload.Length);
            payload.CopyTo(frame);
        }
    }

    /// <summary>Writes a frame with an encoded value.</summary>
    /// <param name="type">What it says.</param>
    /// <param name="number">Its number.</param>
    /// <param name="payload">The value.</param>
    /// <param name="port">Its port.</param>
    /// <param name="attempt">Its attempt.</param>
    /// <param name="flags">More of it.</param>
    /// <param name="keepsBlocks">Whether the blocks of the value stay as they are until the other side has answered, so that they need not be copied.</param>
    public void Write(FrameType type, long number, PayloadWriter payload, ushort port, int attempt, FrameFlags flags, bool keepsBlocks)
    {
        lock (_gate)
        {
            if (_isClosed)
                return;
            if (!payload.HasBlocks)
            {
                ReadOnlySpan<byte> bytes = payload.Head;
                bytes.CopyTo(BeginFrameLocked(type, number, bytes.Length, port, attempt, flags, together: bytes.Length));
                return;
            }

            // First what may find no memory: a frame that has begun is whole.
            Chunk[] blocks = [.. payload.Blocks.Select(block => keepsBlocks && IsOfArray(block) ? new Chunk(block, null) : Copy(block))];
            Span<byte> lead = BeginFrameLocked(type, number, (int)payload.Length, port, attempt, flags | FrameFlags.HasBlocks, together: payload.LeadLength);
            payload.WriteLead(lead);
            SealLocked();
            _chunks.AddRange(blocks);
            Volatile.Write(ref _unsent, _unsent + payload.Length - payload.LeadLength);
        }
    }

    /// <summary>Where the payload of the result of an item goes that is handled with it; <see cref="AddPacked"/> adds it. The stream that reads only.</summary>
    public Span<byte> RoomForPacked(long number)
    {
        if (_results is not { } results || !results.Takes(number))
        {
            lock (_gate)
            {
                TakeResultsLocked();
                results = _results ??= new ResultPack();
                results.Restart(number);
            }
        }

        return results.Room;
    }

    /// <summary>Adds a result behind that of the item before: all that have gathered are one frame, which goes out with the next <see cref="Flush"/>, or within two milliseconds. The stream that reads only.</summary>
    public void AddPacked(int length)
    {
        _results!.Add(length);

        // Without a fence: the signal passes a barrier for all processors between saying that it comes no more and looking.
        if (_isWatched)
            return;
        _isWatched = true;
        FlushSoon();
    }

    /// <summary>Says with the last frame that was written, if that is a result of this item and has not gone out yet, that the item is done.</summary>
    /// <returns>False when it takes a frame of its own.</returns>
    public bool TryEndWithLast(long number)
    {
        lock (_gate)
        {
            if (_lastFrame < 0)
                return false;
            Span<byte> header = _filling.AsSpan(_lastFrame, FrameFormat.HeaderLength);
            return FrameFormat.TryMarkLast(header, number);
        }
    }

    /// <summary>Sends what was written within two milliseconds, with what is written until then.</summary>
    public void FlushSoon() => _late.Soon();

    /// <summary>Sends what was written.</summary>
    public void Flush()
    {
        lock (_gate)
        {
            TakeResultsLocked();
            if (_isClosed || _isSending || (_filled == 0 && _chunks.Count == 0))
                return;
            _isSending = true;
        }

        if (_socket is not null)
            SendBursts(_socket);
        else
            _ = SendBurstsAsync(); // Owned by _isSending: its end is waited for at the disposal, where its failure is told.
    }

    /// <summary>Sends what nobody has sent since the last time; what is younger waits for the next.</summary>
    private void FlushLate()
    {
        try
        {
            FlushIfLate();
        }
        catch (Exception error)
        {
            // No memory: this thread is that of all connections.
            Close(error);
        }
    }

    private void FlushIfLate()
    {
        lock (_gate)
        {
            bool isLate = !_hasTakenBurst;
            _hasTakenBurst = false;
            if (_isClosed)
                return;
            if (!isLate && HasUnsentLocked())
            {
                FlushSoon();
                return;
            }
        }

        Flush();

        // Without packed results all is written inside of the gate.
        if (Volatile.Read(ref _results) is null)
            return;
        _isWatched = false;
        Interlocked.MemoryBarrierProcessWide();
        lock (_gate)
        {
            if (_results is { IsEmpty: false })
                FlushSoon();
        }
    }

    /// <summary>Ends the sending at once; what has not been sent is given up.</summary>
    /// <exception cref="Exception">What a callback has thrown.</exception>
    public async ValueTask DisposeAsync()
    {
        TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            _isClosed = true;
            _ended = ended;
            if (!_isSending)
                EndSendingLocked();
        }

        await _closing.CancelAsync().ConfigureAwait(false);
        _socket?.Shut();
        await ended.Task.ConfigureAwait(false);

        // Nobody sends any more, nor has left it to the thread.
        _handedOver.Release();
        if (_thread is not null)
            await _thread.ConfigureAwait(false);
        Volatile.Write(ref _unsent, 0);
        _onWritable?.Invoke();
        _closing.Dispose();
        _handedOver.Dispose();
        if (_failure is { } failure)
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
    }

    // ---- Under the gate. -------------------------------------------------------------------------------------------------------------

    private bool HasUnsentLocked() => _filled > 0 || _chunks.Count > 0 || _results is { IsEmpty: false };

    /// <returns>Where the first bytes of the payload go.</returns>
    private Span<byte> BeginFrameLocked(FrameType type, long number, int length, ushort port, int attempt, FrameFlags flags, int together)
    {
        // What has gathered was made before.
        TakeResultsLocked();
        return AddFrameLocked(type, number, length, port, attempt, flags, together);
    }

    private Span<byte> AddFrameLocked(FrameType type, long number, int length, ushort port, int attempt, FrameFlags flags, int together)
    {
        int needed = FrameFormat.HeaderLength + together;
        if (_filling is null || _filling.Length - _filled < needed)
        {
            SealLocked();
            _filling = _arrays.Rent(Math.Max(ChunkLength, needed));
        }

        _lastFrame = together == length ? _filled : -1;
        Span<byte> frame = _filling.AsSpan(_filled, needed);
        FrameFormat.WriteHeader(frame, type, port, (byte)Math.Min(attempt, byte.MaxValue), flags, length, _sequence++, number);
        _filled += needed;
        Volatile.Write(ref _unsent, _unsent + needed);
        return frame[FrameFormat.HeaderLength..];
    }

    /// <summary>Makes a frame of the results that have gathered.</summary>
    private void TakeResultsLocked()
    {
        if (_results is not { IsEmpty: false } results)
            return;
        ReadOnlySpan<byte> payload = results.Take(out long number);
        if (!_isClosed)
            payload.CopyTo(AddFrameLocked(FrameType.PackedResults, number, payload.Length, port: 0, attempt: 1, FrameFlags.None, together: payload.Length));
    }

    /// <summary>Whether reading it does no harm, whatever becomes of it: when an item is settled early, the connection may still read its blocks, though nobody will take up what it sends.</summary>
    private static bool IsOfArray(ReadOnlyMemory<byte> block) =>
        MemoryMarshal.TryGetArray(block, out _) || MemoryMarshal.TryGetMemoryManager<byte, ArrayMemory>(block, out _);

    private Chunk Copy(ReadOnlyMemory<byte> bytes)
    {
        byte[] copy = _arrays.Rent(bytes.Length);
        bytes.CopyTo(copy);
        return new Chunk(copy.AsMemory(0, bytes.Length), copy);
    }

    private void SealLocked()
    {
        _lastFrame = -1;
        if (_filled > 0)
            _chunks.Add(new Chunk(_filling.AsMemory(0, _filled), _filling));
        else if (_filling is not null)
            _arrays.Return(_filling);
        (_filling, _filled) = (null, 0);
    }

    // ---- The sender's. ---------------------------------------------------------------------------------------------------------------

    private async Task SendBurstsAsync()
    {
        try
        {
            for (int bursts = 1; TryTakeBurst(); bursts++)
            {
                foreach (Chunk chunk in _burst)
                    await _stream.WriteAsync(chunk.Bytes, _closing.Token).ConfigureAwait(false);
                await _stream.FlushAsync(_closing.Token).ConfigureAwait(false);
                OnBurstSent();
                if (bursts % MostOwnBursts == 0)
                    await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
            }
        }
        catch (Exception error)
        {
            Close(error);
        }
    }

    /// <summary>Sends as much as goes at once, and leaves the rest to the thread.</summary>
    private void SendBursts(DirectSocket socket)
    {
        try
        {
            if (TrySend(socket, MostOwnBursts))
                return;
            _thread ??= PumpThread.RunAsync(() => SendRests(socket), "puma-send");
            _handedOver.Release();
        }
        catch (Exception error)
        {
            Close(error);
        }
    }

    private void SendRests(DirectSocket socket)
    {
        while (true)
        {
            _handedOver.Wait();
            if (!IsSending())
                return;
            try
            {
                while (!TrySend(socket, int.MaxValue))
                    socket.WaitUntilWritable();
            }
            catch (Exception error)
            {
                Close(error);
            }
        }
    }

    private bool IsSending()
    {
        lock (_gate)
            return _isSending;
    }

    /// <returns>Whether all was sent; then this is the sender no longer. Otherwise the connection is full, or these were as many bursts as there may be.</returns>
    private bool TrySend(DirectSocket socket, int mostBursts)
    {
        for (int bursts = 0; _burst.Count > 0 || TryTakeBurst(); bursts++)
        {
            if (bursts == mostBursts)
                return false;
            for (; _sentChunks < _burst.Count; _sentChunks++, _sentOfNext = 0)
            {
                ReadOnlyMemory<byte> bytes = _burst[_sentChunks].Bytes;
                while (_sentOfNext < bytes.Length)
                {
                    int count = socket.Send(bytes.Span[_sentOfNext..]);
                    if (count == 0)
                        return false;
                    _sentOfNext += count;
                }
            }

            OnBurstSent();
        }

        return true;
    }

    /// <returns>False when there is nothing; then this is the sender no longer.</returns>
    private bool TryTakeBurst()
    {
        lock (_gate)
        {
            if (!_isClosed && (_filled > 0 || _chunks.Count > 0))
            {
                SealLocked();
                _hasTakenBurst = true;
                (_burst, _chunks) = (_chunks, _burst);
                return true;
            }

            EndSendingLocked();
            return false;
        }
    }

    private void EndSendingLocked()
    {
        _isSending = false;
        _ended?.TrySetResult();
    }

    private void OnBurstSent()
    {
        long sent = 0;
        foreach (Chunk chunk in _burst)
        {
            sent += chunk.Bytes.Length;
            if (chunk.Rented is not null)
                _arrays.Return(chunk.Rented);
        }

        _burst.Clear();
        _sentChunks = 0;
        bool isRelief;
        lock (_gate)
        {
            long before = _unsent;
            Volatile.Write(ref _unsent, before - sent);

            // Of all changes of the count exactly one brings it below the mark again, and this is the only place that lowers it: whoever
            // has seen it above the mark is woken.
            isRelief = before > Congestion && before - sent <= Congestion;
        }

        if (isRelief)
            _onWritable?.Invoke();
    }

    /// <summary>The other side is gone, which the receiver tells; or this side gives up; or something has thrown, which ends the receiver as well.</summary>
    private void Close(Exception error)
    {
        lock (_gate)
        {
            _isClosed = true;
            _failure = FrameChannel.IsEnd(error) ? null : error;
            Volatile.Write(ref _unsent, 0);
        }

        try
        {
            if (!FrameChannel.IsEnd(error))
                _stream.Dispose();
            _onWritable?.Invoke();
        }
        catch (Exception thrown)
        {
            _failure ??= thrown;
        }

        lock (_gate)
        {
            // Not pooled any more: the connection may still read them.
            _chunks.Clear();
            (_filling, _filled, _lastFrame) = (null, 0, -1);
            EndSendingLocked();
        }
    }

    /// <param name="Bytes">What is sent.</param>
    /// <param name="Rented">The array to give back then; null when it is somebody else's memory.</param>
    private readonly record struct Chunk(ReadOnlyMemory<byte> Bytes, byte[]? Rented);
}
