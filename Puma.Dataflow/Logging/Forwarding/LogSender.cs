using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Isolation;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;

namespace Puma.Dataflow.Logging.Forwarding;

/// <summary>
/// Sends what is logged in a child to its parent, in order, and no more than the parent has room for; the rest waits, bounded. When there
/// is no room for that either, Trace and Debug are dropped and counted, and whoever logs more than that waits a little, in turn. What is
/// neither dropped nor written by the parent is in the black box, too, while it has room for that; all of it is counted there.
/// </summary>
/// <remarks>Any thread. The lock is a condition to wait for, which <see cref="Lock"/> is not.</remarks>
/// <param name="control">The control connection.</param>
/// <param name="ring">Where records outlive the process; null in this process.</param>
internal sealed class LogSender(FrameChannel control, LogRing? ring)
{
    /// <summary>How many bytes wait at most. With the window less than the black box holds.</summary>
    private const int MaxBacklog = 1024 * 1024;

    /// <summary>How long somebody who logs waits at most for room.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    /// <summary>Records gather that come so soon after each other, in timestamps: a millisecond.</summary>
    private static readonly long s_burst = TimeProvider.System.TimestampFrequency / 1000;

    [ThreadStatic]
    private static FieldWriter? s_writer;

    private readonly object _gate = new();

    // When a record last went out at once, in timestamps. Those that follow quickly go out together: waking the thread that sends costs more than
    // a record. Whatever else is said by the connection takes with it what was logged before. Any thread.
    private long _flushedAt;

    // Guarded by _gate.
    private readonly LogBacklog _backlog = new(MaxBacklog);
    private readonly SendWindow _window = new(maxBytes: 512 * 1024);
    private readonly LinkedList<byte[]> _waiting = [];

    // By level, since the beginning: how many the parent was told were dropped.
    private readonly long[] _told = new long[(int)LogLevel.None];

    // By level: how many were accepted and not dropped later.
    private readonly long[] _accepted = new long[(int)LogLevel.None];

    // What the black box holds that the parent has not written, the oldest first, and where each begins there in bytes since the beginning.
    private readonly Queue<(long Number, long Begin)> _inRing = [];
    private readonly Dictionary<long, long> _begins = [];
    private long _ringEnd;
    private long _number;
    private OncePerSecond _droppedTold;
    private TaskCompletionSource? _drained;
    private bool _isOver;

    // By level, since the beginning: how many were dropped. Any thread, by increments alone.
    private readonly long[] _dropped = new long[(int)LogLevel.None];

    // The highest level of those that are dropped until there is room again; -1 for none. Written inside of _gate.
    private volatile int _dropsUpTo = -1;

    /// <summary>Whether a record of this level is dropped, which is counted then. Asked before the record is made: in a flood, most are.</summary>
    public bool TryDrop(LogLevel level)
    {
        if ((int)level > _dropsUpTo)
            return false;
        CountDropped(level);
        return true;
    }

    public void Send(LogRecord record)
    {
        byte[] bytes = Encode(record, LogRecord.MaxText);
        byte[] kept = ring is not null && bytes.Length > ring.MaxRecord ? Encode(Shortened(record), ring.MaxRecord / 4) : bytes;
        lock (_gate)
        {
            if (_backlog.IsEmpty && _window.HasRoomFor(bytes.Length))
            {
                KeepLocked(++_number, record.Level, kept);
                SendLocked(_number, bytes);
                TellDroppedLocked(isLast: false);
            }
            else if (TryAddLocked(record.Level, bytes))
            {
                KeepLocked(_number, record.Level, kept);
                SendBacklogLocked();
            }
            else
            {
                CountDropped(record.Level);
                if (record.Level < LogLevel.Information && !_isOver)
                    _dropsUpTo = Math.Max(_dropsUpTo, (int)record.Level);
                return;
            }
        }

        long now = Clock.GetTimestamp();
        if (now - Volatile.Read(ref _flushedAt) < s_burst)
        {
            control.FlushSoon();
            return;
        }

        Volatile.Write(ref _flushedAt, now);
        control.Flush();
    }

    /// <summary>The parent has written the records up to this one.</summary>
    public void OnTaken(long number)
    {
        lock (_gate)
        {
            _window.OnTaken(number);
            _dropsUpTo = -1;
            SendBacklogLocked();
            TellDroppedLocked(isLast: false);
            Monitor.PulseAll(_gate);
        }

        control.Flush();
    }

    /// <summary>The parent is gone: nobody waits any more.</summary>
    public void OnParentGone()
    {
        lock (_gate)
        {
            _isOver = true;
            _drained?.TrySetResult();
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Ends when everything was sent that waits now.</summary>
    public Task DrainAsync()
    {
        lock (_gate)
        {
            if (_isOver)
                return Task.CompletedTask;
            if (_backlog.IsEmpty)
            {
                TellDroppedLocked(isLast: true);
                return Task.CompletedTask;
            }

            _drained ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _drained.Task;
        }
    }

    private static byte[] Encode(LogRecord record, int maxText)
    {
        // One for each thread, as long as it has not grown for a long text. Values say what they are meanwhile, and may log for that.
        FieldWriter fields = s_writer ?? new FieldWriter();
        s_writer = null;
        fields.Clear();
        record.WriteTo(fields, maxText);
        if (fields.Length < 64 * 1024)
            s_writer = fields;
        return fields.Written.ToArray();
    }

    /// <summary>What is kept of a record that is too long for the black box.</summary>
    private static LogRecord Shortened(LogRecord record) => record with
    {
        Template = null,
        Properties = [.. record.Properties.Take(16)],
        ScopeProperties = [.. record.ScopeProperties.Take(16)],
        ScopeTexts = [.. record.ScopeTexts.Take(16)],
    };

    private static TimeProvider Clock => TimeProvider.System;

    /// <summary>Takes a record into the backlog; its number is then the last one.</summary>
    private bool TryAddLocked(LogLevel level, byte[] bytes)
    {
        if (_isOver)
            return false;
        bool isAdded = (level < LogLevel.Information || _waiting.Count == 0) && TryAddNowLocked(level, bytes);
        return isAdded || (level >= LogLevel.Information && WaitAndAddLocked(level, bytes));
    }

    private bool WaitAndAddLocked(LogLevel level, byte[] bytes)
    {
        long begin = Clock.GetTimestamp();
        LinkedListNode<byte[]> turn = _waiting.AddLast(bytes);
        control.Flush();
        try
        {
            while (turn.Previous is not null || !TryAddNowLocked(level, bytes))
            {
                TimeSpan left = Patience - Clock.GetElapsedTime(begin);
                if (left <= TimeSpan.Zero || _isOver || !Monitor.Wait(_gate, left))
                    return false;
            }

            return true;
        }
        finally
        {
            _waiting.Remove(turn);
            Monitor.PulseAll(_gate);
        }
    }

    private bool TryAddNowLocked(LogLevel level, byte[] bytes)
    {
        if (!_backlog.TryAdd(_number + 1, level, bytes, OnDroppedLocked))
            return false;
        _number++;
        return true;
    }

    /// <summary>What is dropped for another is counted, so it must not be found in the black box as well.</summary>
    private void OnDroppedLocked(LogLevel level, long number)
    {
        CountDropped(level);
        if (_begins.Remove(number, out long begin))
            ring!.Forget(begin);
        NoteAcceptedLocked(level, -1);
    }

    private void CountDropped(LogLevel level)
    {
        Interlocked.Increment(ref _dropped[(int)level]);
        ring?.CountDropped((int)level);
    }

    private void NoteAcceptedLocked(LogLevel level, int more) => ring?.NoteAccepted((int)level, _accepted[(int)level] += more);

    private void SendBacklogLocked()
    {
        while (_backlog.TryPeek(out long number, out byte[] record) && _window.HasRoomFor(record.Length))
        {
            _backlog.Dequeue();
            SendLocked(number, record);
        }

        if (!_backlog.IsEmpty || _drained is null)
            return;
        TellDroppedLocked(isLast: true);
        _drained.TrySetResult();
        _drained = null;
    }

    private void SendLocked(long number, byte[] record)
    {
        _window.OnSent(number, record.Length);
        control.Write(FrameType.Log, number, record);
    }

    /// <summary>Tells what was dropped since the beginning, in a flood once a second.</summary>
    private void TellDroppedLocked(bool isLast)
    {
        if (_dropped.AsSpan().SequenceEqual(_told) || (!isLast && !_droppedTold.IsDue))
            return;
        _droppedTold.OnTold();
        _dropped.CopyTo(_told, 0);
        var fields = new FieldWriter();
        foreach (long count in _told)
            fields.Long(count);
        control.Write(FrameType.LogDropped, payload: fields.Written);
    }

    /// <summary>Puts an accepted record into the black box, if that has room, and counts it there in any case.</summary>
    private void KeepLocked(long number, LogLevel level, byte[] record)
    {
        if (ring is null)
            return;
        PutLocked(ring, number, record);

        // Last: what the process dies in was not accepted yet.
        NoteAcceptedLocked(level, 1);
    }

    /// <summary>Puts a record into the black box, if that has room beside what the parent has not written yet.</summary>
    private void PutLocked(LogRing ring, long number, byte[] record)
    {
        Debug.Assert(record.Length <= ring.MaxRecord, "A shortened record has room in the black box.");
        long oldest = _window.Oldest ?? (_backlog.TryPeek(out long waiting, out _) ? waiting : number);
        while (_inRing.TryPeek(out (long Number, long Begin) first) && first.Number < oldest)
            _begins.Remove(_inRing.Dequeue().Number);
        long begin = _inRing.TryPeek(out (long Number, long Begin) kept) ? kept.Begin : _ringEnd;
        int room = LogRing.RoomFor(record.Length);
        if (_ringEnd + room - begin > ring.Capacity)
            return;
        long at = ring.Add(number, record);
        Debug.Assert(at == _ringEnd, "This is the only writer of the black box.");
        _inRing.Enqueue((number, at));
        _begins.Add(number, at);
        _ringEnd += room;
    }
}
