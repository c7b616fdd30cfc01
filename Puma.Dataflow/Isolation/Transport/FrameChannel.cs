using System.Diagnostics;
using System.IO.Pipelines;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>
/// Frames over one duplex connection. What is written goes out in bursts: whatever has gathered while the last write was on its way is
/// the next one. Any thread may write; one stream reads.
/// </summary>
/// <remarks>Its two pumps never run user code, but for <paramref name="onReadable"/>, which must not block.</remarks>
/// <param name="stream">The connection.</param>
/// <param name="maxPayload">The longest encoded item, in bytes. Records are bounded by themselves.</param>
/// <param name="onReadable">Called when more can be read, or the other side has ended.</param>
/// <param name="onWritable">Called when the connection is congested no longer.</param>
/// <param name="ownThreads">Whether each pump has a thread of its own, so that it goes on although user code blocks all threads of the pool. The stream is disposed with the channel then, because that alone ends a read that blocks.</param>
internal sealed class FrameChannel(Stream stream, int maxPayload, Action onReadable, Action? onWritable = null, bool ownThreads = false) : IAsyncDisposable
{
    private const int Congestion = 1024 * 1024;

    private readonly Lock _gate = new();

    // However small the items are to be, what became of them can be told.
    private readonly int _maxLength = Math.Max(maxPayload, FrameFormat.MaxControl);

    // Unbounded by itself: the slots of the stage, the credits of its outputs and IsCongested bound it.
    private readonly Pipe _out = new(new PipeOptions(pauseWriterThreshold: 0, minimumSegmentSize: 32 * 1024, useSynchronizationContext: false));
    private readonly Pipe _in = new(new PipeOptions(pauseWriterThreshold: Congestion, resumeWriterThreshold: Congestion / 2, minimumSegmentSize: 64 * 1024, useSynchronizationContext: false));
    private readonly CancellationTokenSource _closing = new();

    // Counts at most one: something was flushed that a sending thread may not have seen.
    private readonly SemaphoreSlim _flushed = new(0);
    private Task _pumps = Task.CompletedTask;

    // Guarded by _gate.
    private uint _sent;
    private bool _isClosed;
    private bool _hasUnflushed;

    private long _unsent;

    // Reader only.
    private System.Buffers.ReadOnlySequence<byte> _buffer;
    private bool _hasBuffer;
    private bool _isLast;
    private uint _received;
    private Frame _frame;
    private bool _hasFrame;
    private bool _hasEnded;

    /// <summary>Whether so much waits to be sent that no more should be written.</summary>
    public bool IsCongested => Volatile.Read(ref _unsent) > Congestion;

    /// <summary>Whether the other side has ended and everything that it sent was read. Reader only.</summary>
    public bool HasEnded => _hasEnded;

    /// <summary>Ends when nothing more will be received, because either side has ended. What was received may still be unread.</summary>
    public Task Receiving { get; private set; } = Task.CompletedTask;

    public void Start()
    {
        Receiving = ownThreads ? RunOnThreadAsync(ReceiveAsync, "puma-receive") : Task.Run(ReceiveAsync);
        _pumps = Task.WhenAll(ownThreads ? RunOnThreadAsync(SendAsync, "puma-send") : Task.Run(SendAsync), Receiving);
    }

    private static Task RunOnThreadAsync(Func<Task> pump, string name)
    {
        var ended = new TaskCompletionSource<Task>(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() => ended.SetResult(pump()), 256 * 1024) { Name = name, IsBackground = true }.Start();
        return ended.Task.Unwrap();
    }

    // ---- Writing. Any thread. ------------------------------------------------------------------------------------------------------

    /// <summary>Writes a frame; it goes out with the next <see cref="Flush"/>. Once the connection has ended nothing happens.</summary>
    public void Write(FrameType type, long number = 0, ReadOnlySpan<byte> payload = default, ushort port = 0, int attempt = 0, FrameFlags flags = FrameFlags.None)
    {
        Debug.Assert(payload.Length <= FrameFormat.LongestOf(type, _maxLength), "The writer keeps payloads within bounds.");
        lock (_gate)
        {
            if (_isClosed)
                return;
            int length = FrameFormat.HeaderLength + payload.Length;
            Span<byte> span = _out.Writer.GetSpan(length);
            FrameFormat.WriteHeader(span, type, port, (byte)Math.Min(attempt, byte.MaxValue), flags, payload.Length, _sent++, number);
            payload.CopyTo(span[FrameFormat.HeaderLength..]);
            _out.Writer.Advance(length);
            NoteWritten(length);
        }
    }

    /// <summary>Writes a frame with an encoded item.</summary>
    public void Write(FrameType type, long number, PayloadWriter payload, ushort port, int attempt, FrameFlags flags = FrameFlags.None)
    {
        Debug.Assert(payload.Length <= FrameFormat.LongestOf(type, maxPayload), "The writer keeps payloads within bounds.");
        lock (_gate)
        {
            if (_isClosed)
                return;
            Span<byte> header = _out.Writer.GetSpan(FrameFormat.HeaderLength);
            FrameFormat.WriteHeader(header, type, port, (byte)Math.Min(attempt, byte.MaxValue), payload.HasBlocks ? flags | FrameFlags.HasBlocks : flags, (int)payload.Length, _sent++, number);
            _out.Writer.Advance(FrameFormat.HeaderLength);
            payload.CopyTo(_out.Writer);
            NoteWritten(FrameFormat.HeaderLength + payload.Length);
        }
    }

    private void NoteWritten(long length)
    {
        Interlocked.Add(ref _unsent, length);
        _hasUnflushed = true;
    }

    /// <summary>Sends what was written.</summary>
    public void Flush()
    {
        lock (_gate)
        {
            if (!_hasUnflushed || _isClosed)
                return;
            _hasUnflushed = false;

            // Completes at once, because the pipe has no threshold.
            ValueTask<FlushResult> flushing = _out.Writer.FlushAsync(CancellationToken.None);
            Debug.Assert(flushing.IsCompletedSuccessfully, "An unbounded pipe never waits.");
#pragma warning disable VSTHRD002 // It has completed, see above.
            _ = flushing.Result;
#pragma warning restore VSTHRD002
            if (ownThreads && _flushed.CurrentCount == 0)
                _flushed.Release();
        }
    }

    // ---- Reading. One stream. ------------------------------------------------------------------------------------------------------

    /// <summary>Shows the next frame, which stays until <see cref="Advance"/>.</summary>
    /// <exception cref="ProtocolViolationException">The other side sent what is no frame.</exception>
    public bool TryPeek(out Frame frame)
    {
        while (!_hasFrame)
        {
            if (_hasEnded)
                break;
            if (!_hasBuffer)
            {
                if (!_in.Reader.TryRead(out ReadResult result))
                    break;
                (_buffer, _hasBuffer, _isLast) = (result.Buffer, true, result.IsCompleted);
            }

            if (FrameFormat.TryRead(ref _buffer, _maxLength, _received, out _frame))
            {
                _received++;
                _hasFrame = true;
                break;
            }

            // A frame that was cut off by the other side's end is no frame.
            _hasEnded = _isLast;
            _in.Reader.AdvanceTo(_buffer.Start, _buffer.End);
            _hasBuffer = false;
        }

        frame = _frame;
        return _hasFrame;
    }

    /// <summary>Goes on to the next frame.</summary>
    public void Advance()
    {
        _hasFrame = false;
        _frame = default;
    }

    // ---- The pumps. ----------------------------------------------------------------------------------------------------------------

    private async Task SendAsync()
    {
        try
        {
            while (true)
            {
                ReadResult result = await ReadWrittenAsync().ConfigureAwait(false);
                foreach (ReadOnlyMemory<byte> segment in result.Buffer)
                    await SendAsync(segment).ConfigureAwait(false);
                await FlushStreamAsync().ConfigureAwait(false);
                long sent = result.Buffer.Length;
                _out.Reader.AdvanceTo(result.Buffer.End);

                // Of all changes of the count exactly one brings it below the mark again, and this is the only place that lowers it: whoever
                // has seen it above the mark is woken.
                long left = Interlocked.Add(ref _unsent, -sent);
                if (left <= Congestion && left + sent > Congestion)
                    onWritable?.Invoke();
            }
        }
        catch (Exception error) when (IsEnd(error))
        {
            // The other side is gone, which the receiving pump tells; or this side gives up.
        }
        finally
        {
            lock (_gate)
            {
                _isClosed = true;
                Volatile.Write(ref _unsent, 0);
                _out.Writer.Complete();
            }

            await _out.Reader.CompleteAsync().ConfigureAwait(false);
            onWritable?.Invoke();
        }
    }

    private async Task ReceiveAsync()
    {
        try
        {
            while (true)
            {
                int read = await ReceiveAsync(_in.Writer.GetMemory()).ConfigureAwait(false);
                if (read == 0)
                    break;
                _in.Writer.Advance(read);
                ValueTask<FlushResult> flushing = _in.Writer.FlushAsync(_closing.Token);
                onReadable();
                await flushing.ConfigureAwait(false);
            }
        }
        catch (Exception error) when (IsEnd(error))
        {
            // As good as the end of the stream.
        }
        finally
        {
            await _in.Writer.CompleteAsync().ConfigureAwait(false);
            onReadable();
        }
    }

    // On threads of their own the pumps block here, so that all that they await has completed.

    private ValueTask<ReadResult> ReadWrittenAsync()
    {
        if (!ownThreads)
            return _out.Reader.ReadAsync(_closing.Token);
        ReadResult result;
        while (!_out.Reader.TryRead(out result))
            _flushed.Wait(_closing.Token);
        return new(result);
    }

    private ValueTask SendAsync(ReadOnlyMemory<byte> segment)
    {
        if (!ownThreads)
            return stream.WriteAsync(segment, _closing.Token);
        stream.Write(segment.Span);
        return default;
    }

    private ValueTask FlushStreamAsync()
    {
        if (!ownThreads)
            return new(stream.FlushAsync(_closing.Token));
        stream.Flush();
        return default;
    }

    private ValueTask<int> ReceiveAsync(Memory<byte> target) => ownThreads ? new(stream.Read(target.Span)) : stream.ReadAsync(target, _closing.Token);

    private static bool IsEnd(Exception error) => error is IOException or OperationCanceledException or ObjectDisposedException;

    /// <summary>Ends both pumps at once; what has not been sent is given up. The stream is the caller's to dispose.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_gate)
            _isClosed = true;
        await _closing.CancelAsync().ConfigureAwait(false);
        if (ownThreads)
            await stream.DisposeAsync().ConfigureAwait(false);
        await _pumps.ConfigureAwait(false);
        _closing.Dispose();
        _flushed.Dispose();
    }
}
