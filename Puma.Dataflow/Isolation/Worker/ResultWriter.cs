using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>Tells the parent what the code makes and how its items end, and sends it in bursts.</summary>
/// <remarks>
/// What says nothing else belongs to the worker's stream.
/// <para>
/// The ends of items, and outputs that follow each other quickly, go out together: before the stream waits, after <see cref="s_burst"/>,
/// or, if user code takes its time meanwhile, within two milliseconds.
/// </para>
/// </remarks>
internal sealed class ResultWriter(FrameChannel data, StartRecord start, WorkerControl control)
{
    /// <summary>How long they gather, in timestamps: 50 microseconds.</summary>
    private static readonly long s_burst = TimeProvider.System.TimestampFrequency / 20_000;

    /// <summary>Items are short that take less, in timestamps: 3 microseconds; and very short: a quarter of one.</summary>
    private static readonly long s_short = TimeProvider.System.TimestampFrequency * 3 / 1_000_000, s_veryShort = TimeProvider.System.TimestampFrequency / 4_000_000;

    /// <summary>After so many short items the stream looks at the time, and after so many very short ones.</summary>
    private const int ItemsPerLook = 16, VeryShortItemsPerLook = 128;

    // When they last went out because of the time, or the stream began to work. Any thread.
    private long _flushedAt;

    // When the stream last looked at the time; after how many items it looks next, and how many are left until then.
    private long _lookedAt;
    private int _itemsPerLook = 1;
    private int _untilLook = 1;

    // How many packed results are left until they go out.
    private int _untilFlush = start.BurstLength;

    // Written by the stream. Volatile, because a handler that waits may go on on another thread before the call of it has returned.
    private volatile bool _isInBurst;
    private volatile bool _hasStarted;

    private readonly Lock _markGate = new();

    // Up to which report the parent was told to look before it reads on. Written inside of _markGate.
    private long _marked;

    /// <summary>Whether an output that has a credit may go out now. Before the start is over the parent reads nothing, so nothing is waited for. Any thread.</summary>
    public bool CanSend(long credits) => !control.IsDiscarding && (!_hasStarted || (credits > 0 && !data.IsCongested));

    public void EndStart() => _hasStarted = true;

    /// <summary>From here on outputs go out together; until <see cref="EndBurst"/>.</summary>
    public void BeginBurst() => _isInBurst = true;

    /// <summary>From here on each output goes out soon.</summary>
    public void EndBurst() => _isInBurst = false;

    /// <summary>Sends what is ready. Any thread.</summary>
    public void Flush() => data.Flush();

    /// <summary>Sends what is ready and waits until something may have changed. Any thread that has a signal of its own.</summary>
    /// <param name="at">Where to wait; null for the stream's own signal.</param>
    public ValueTask WaitAsync(Wakeup? at = null)
    {
        data.Flush();
        return control.WaitAsync(at);
    }

    /// <summary>Sends an output of the item in work. Any thread.</summary>
    /// <exception cref="ItemCodecException">It cannot be carried; nothing was sent.</exception>
    public void Send<T>(ushort port, T value, ItemCodec<T> codec, PayloadWriter writer)
    {
        try
        {
            codec.Write(writer, value);
        }
        catch
        {
            writer.Reset();
            throw;
        }

        SendWritten<T>(port, writer);
    }

    /// <summary>Sends an output of the item in work that is encoded, and empties its writer. Any thread.</summary>
    /// <inheritdoc cref="Send" path="/exception"/>
    public void SendWritten<T>(ushort port, PayloadWriter writer)
    {
        try
        {
            if (writer.Length > start.MaxPayload)
                throw new ItemCodecException(typeof(T), null, $"its encoded form has {writer.Length} bytes; at most {start.MaxPayload} can travel (MaxItemSize)");
            MarkStatus();
            data.Write(FrameType.Result, control.Item.Number, writer, port, control.Item.Attempt);
        }
        finally
        {
            writer.Reset();
        }

        // Its handler may wait for what comes of it.
        if (_isInBurst)
            data.FlushSoon();
        else
            FlushSoon(TimeProvider.System.GetTimestamp());
    }

    /// <summary>Says that items are there to be handled again, after a wait.</summary>
    public void BeginWork()
    {
        _lookedAt = TimeProvider.System.GetTimestamp();
        Volatile.Write(ref _flushedAt, _lookedAt);
    }

    public void SendDone(long number, int attempt, bool wasRefused)
    {
        MarkStatus();
        bool isTold = !wasRefused && data.TryEndWithLast(number);
        if (!isTold)
            data.Write(FrameType.Done, number, attempt: attempt, flags: wasRefused ? FrameFlags.WasRefused : FrameFlags.None);
        if (--_untilLook == 0)
            FlushSoon(LookAtTime());
        else if (!isTold)
            data.FlushSoon();
    }

    /// <summary>Sends the only output of an item, which is handled with it, with those of the items before, if it is short.</summary>
    /// <param name="number">The item, which has had one attempt.</param>
    /// <param name="value">The output.</param>
    /// <param name="codec">Its codec.</param>
    /// <param name="writer">Holds its encoded form, if that is not short.</param>
    /// <returns>False when it is not short, and was not sent.</returns>
    /// <inheritdoc cref="Send" path="/exception"/>
    public bool TrySendPacked<T>(long number, T value, ItemCodec<T> codec, PayloadWriter writer)
    {
        MarkStatus();
        Span<byte> room = data.RoomForPacked(number);
        int length = codec.WriteShort(writer, room[..Math.Min(room.Length, start.MaxPayload)], value);
        if (length < 0)
            return false;
        data.AddPacked(length);
        if (--_untilLook == 0)
            FlushSoon(LookAtTime());
        if (--_untilFlush == 0)
            FlushPacked();
        return true;
    }

    /// <summary>So that the parent has something to do while the code goes on.</summary>
    private void FlushPacked()
    {
        _untilFlush = start.BurstLength;
        data.Flush();
    }

    /// <summary>Looks how short the last items were, and after how many to look again.</summary>
    private long LookAtTime()
    {
        long now = TimeProvider.System.GetTimestamp();
        long took = (now - _lookedAt) / _itemsPerLook;
        _untilLook = _itemsPerLook = took <= s_veryShort ? VeryShortItemsPerLook : took <= s_short ? ItemsPerLook : 1;
        _lookedAt = now;
        return now;
    }

    private void FlushSoon(long now)
    {
        if (now - Volatile.Read(ref _flushedAt) < s_burst)
        {
            data.FlushSoon();
            return;
        }

        Volatile.Write(ref _flushedAt, now);
        data.Flush();
    }

    /// <param name="number">The item; 0 for the code itself.</param>
    /// <param name="attempt">The attempt at it.</param>
    /// <param name="error">What was thrown; null when only the time had run out.</param>
    /// <param name="flags">What else is known of it.</param>
    public void SendFailed(long number, int attempt, Exception? error, FrameFlags flags)
    {
        var fields = new FieldWriter();
        ErrorRecord.Of(error ?? new TimeoutException("The handler returned only after its time had run out.")).WriteTo(fields);
        if (start.FaultsAtError && !flags.HasFlag(FrameFlags.Canceled) && (attempt > start.Retries || flags.HasFlag(FrameFlags.NotCarried)))
            control.Say(FrameType.Failing, number);
        MarkStatus();
        data.Write(FrameType.Failed, number, fields.Written, attempt: attempt, flags: flags);
        data.Flush();
    }

    /// <summary>Tells that the code handles nothing more.</summary>
    public void SendOver(bool isCompleted)
    {
        MarkStatus();
        data.Write(isCompleted ? FrameType.Completed : FrameType.Idle);
        data.Flush();
    }

    /// <summary>What was reported until now is to be seen before what is sent next.</summary>
    private void MarkStatus()
    {
        if (control.Status.Number > Volatile.Read(ref _marked))
            WriteMark();
    }

    private void WriteMark()
    {
        lock (_markGate)
        {
            long number = control.Status.Number;
            if (number <= _marked)
                return;
            Span<byte> payload = stackalloc byte[sizeof(long)];
            System.Buffers.Binary.BinaryPrimitives.WriteInt64LittleEndian(payload, number);
            data.Write(FrameType.StatusMark, payload: payload);
            Volatile.Write(ref _marked, number);
        }
    }
}
