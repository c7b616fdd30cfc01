using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>
/// The log of one child in its parent: takes in what the child logs and writes, and hands it to the application's logging one after the
/// other, on a stream of its own, so that logging which is slow holds up neither the child's other messages nor its items. Tells the
/// child which levels are wanted, and again when that changes.
/// </summary>
/// <remarks>Any thread may call it. Two streams do the work: one writes, the other asks what is wanted; only they call the application's logging.</remarks>
internal sealed class ChildLog : IAsyncDisposable
{
    /// <summary>How often the wanted levels are looked at.</summary>
    private static readonly TimeSpan LookPeriod = TimeSpan.FromMilliseconds(250);

    /// <summary>How many lines of its output are written in a second, and how many may wait for that.</summary>
    private const int MaxLinesPerSecond = 1000, MaxLines = 2000;

    /// <summary>After how much writing the child is told that there is room again.</summary>
    private static readonly TimeSpan BurstTime = TimeSpan.FromMilliseconds(100);

    private readonly LogSink _sink;
    private readonly ILogger _events;
    private readonly string _stage;
    private readonly string _category;
    private readonly Action<Exception> _onFailed;
    private readonly Channel<Entry> _entries = Channel.CreateUnbounded<Entry>(new() { SingleReader = true });
    private readonly Channel<string> _newCategories = Channel.CreateUnbounded<string>(new() { SingleReader = true });
    private readonly CancellationTokenSource _closing = new();
    private readonly Task _writing;
    private Task _watching = Task.CompletedTask;

    // Set once, before the child can have said anything.
    private Action<FrameType, long, ReadOnlyMemory<byte>>? _say;

    // The watching stream's own, once it runs.
    private readonly Dictionary<string, LogLevel> _levels = new(StringComparer.Ordinal);
    private LogLevel _least;
    private bool _wantsCallSite;

    private readonly Lock _lines = new();

    // Guarded by _lines.
    private int _linesWaiting;
    private int _linesThisSecond;
    private long _second;

    private readonly Lock _taking = new();

    // Guarded by _taking. What came last, and how many records of each level the child has dropped.
    private long _lastNumber;
    private readonly long[] _dropped = new long[(int)LogLevel.None];

    private long _linesLeftOut;

    // The writing stream's own.
    private OncePerSecond _leftOutTold;

    /// <param name="sink">Where records are written.</param>
    /// <param name="events">Where the library tells what became of records.</param>
    /// <param name="stage">The stage.</param>
    /// <param name="category">The category of its user code.</param>
    /// <param name="onFailed">Is told when the application's logging throws.</param>
    public ChildLog(LogSink sink, ILogger events, string stage, string category, Action<Exception> onFailed)
    {
        (_sink, _events, _stage, _category, _onFailed) = (sink, events, stage, category, onFailed);
        _writing = Task.Run(WriteAsync);
    }

    /// <summary>Connects it with a child.</summary>
    /// <returns>Ends when the child was told what is wanted.</returns>
    public Task AttachAsync(Action<FrameType, long, ReadOnlyMemory<byte>> say)
    {
        _say = say;
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _watching = Task.Run(() => WatchLevelsAsync(told));
        return told.Task;
    }

    /// <summary>The child has logged something.</summary>
    public void Add(long number, LogRecord record)
    {
        lock (_taking)
        {
            // What was found in the black box meanwhile is there already.
            if (number <= _lastNumber)
                return;
            _lastNumber = number;
            _entries.Writer.TryWrite(new Entry(number, record));
        }
    }

    /// <summary>The child logs in a category for the first time.</summary>
    public void AddCategory(string category) => _newCategories.Writer.TryWrite(category);

    /// <summary>The child has dropped records: how many since the beginning, by level.</summary>
    public void AddDropped(ref FieldReader counts)
    {
        lock (_taking)
        {
            for (LogLevel level = LogLevel.Trace; level < LogLevel.None; level++)
                AddDroppedLocked(level, counts.Long());
        }
    }

    /// <summary>The child has written a line to standard output or error. Left out, and counted, when there are too many.</summary>
    public void AddLine(int processId, bool isError, string line)
    {
        if (!HasRoomForLine())
        {
            Interlocked.Increment(ref _linesLeftOut);
            return;
        }

        _entries.Writer.TryWrite(new Entry(0, new LogRecord
        {
            Level = isError ? LogLevel.Warning : LogLevel.Information,
            Category = _category + (isError ? ".stderr" : ".stdout"),
            Time = Clock.GetUtcNow().Ticks,
            Message = line,
            ScopeProperties = [new(StageLogger.Stage, _stage)],
            ProcessId = processId,
            ThreadId = 0,
        }, Then: () =>
        {
            lock (_lines)
                _linesWaiting--;
        }));
    }

    /// <summary>The child is gone: what it had logged and not sent is read from its black box.</summary>
    public void Recover(Func<long, LastLog> readAfter)
    {
        lock (_taking)
        {
            LastLog last = readAfter(_lastNumber);
            foreach ((long number, byte[] bytes) in last.Records)
            {
                var reader = new FieldReader(new System.Buffers.ReadOnlySequence<byte>(bytes));
                try
                {
                    _entries.Writer.TryWrite(new Entry(number, LogRecord.ReadFrom(ref reader), IsRecovered: true));
                    _lastNumber = number;
                }
                catch (ProtocolViolationException)
                {
                    // Whatever ended the child has written there, too.
                    return;
                }
            }

            for (LogLevel level = LogLevel.Trace; level < LogLevel.None; level++)
                AddDroppedLocked(level, last.Dropped[(int)level]);
        }
    }

    private void AddDroppedLocked(LogLevel level, long total)
    {
        long count = total - _dropped[(int)level];
        if (count <= 0)
            return;
        _dropped[(int)level] = total;
        _entries.Writer.TryWrite(new Entry(0, null, Then: () => Log.ChildLogDropped(_events, _stage, count, level)));
    }

    /// <summary>Ends when everything is written that was taken in so far.</summary>
    public Task FlushAsync()
    {
        var written = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        return _entries.Writer.TryWrite(new Entry(0, null, Then: () => written.TrySetResult())) ? written.Task : _writing;
    }

    /// <summary>Writes what is left and ends.</summary>
    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync().ConfigureAwait(false);
        await _watching.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _entries.Writer.TryComplete();
        await _writing.ConfigureAwait(false);
    }

    private async Task WriteAsync()
    {
        while (await _entries.Reader.WaitToReadAsync().ConfigureAwait(false))
        {
            long taken = 0, begin = Clock.GetTimestamp();
            for (int burst = 0; burst < 100 && Clock.GetElapsedTime(begin) < BurstTime && _entries.Reader.TryRead(out Entry entry); burst++)
            {
                if (entry.Record is { } record)
                    Write(record, entry.IsRecovered);
                entry.Then?.Invoke();
                if (entry.Number > 0)
                    taken = entry.Number;
            }

            if (taken > 0)
                _say?.Invoke(FrameType.LogTaken, taken, default);
            if (_leftOutTold.IsDue)
                TellLeftOut();
        }

        TellLeftOut();
    }

    private static TimeProvider Clock => TimeProvider.System;

    private bool HasRoomForLine()
    {
        lock (_lines)
        {
            long second = Clock.GetTimestamp() / Clock.TimestampFrequency;
            if (second != _second)
                (_second, _linesThisSecond) = (second, 0);
            if (_linesThisSecond >= MaxLinesPerSecond || _linesWaiting >= MaxLines)
                return false;
            _linesThisSecond++;
            _linesWaiting++;
            return true;
        }
    }

    /// <summary>Tells how many lines were left out, in a flood once a second.</summary>
    private void TellLeftOut()
    {
        if (Interlocked.Exchange(ref _linesLeftOut, 0) is not (> 0 and var leftOut))
            return;
        _leftOutTold.OnTold();
        Log.ChildLinesLeftOut(_events, _stage, leftOut);
    }

    private void Write(LogRecord record, bool isRecovered)
    {
        try
        {
            _sink.Write(record, isRecovered);
        }
        catch (Exception error)
        {
            _onFailed(error);
        }
    }

    private async Task WatchLevelsAsync(TaskCompletionSource told)
    {
        _levels[_category] = LeastOf(_category);
        (_least, _wantsCallSite) = (Ask(() => _sink.Least, LogLevel.Trace), Ask(() => _sink.WantsCallSite, false));
        Tell([.. _levels]);
        told.SetResult();
        for (long looked = Clock.GetTimestamp(); ;)
        {
            TimeSpan left = LookPeriod - Clock.GetElapsedTime(looked);
            if (left > TimeSpan.Zero)
                await Task.WhenAny(_newCategories.Reader.WaitToReadAsync(_closing.Token).AsTask(), Task.Delay(left, Clock, _closing.Token)).ConfigureAwait(false);
            if (_closing.IsCancellationRequested)
                return;
            List<KeyValuePair<string, LogLevel>> changed = [];
            while (_newCategories.Reader.TryRead(out string? category))
            {
                if (_levels.Count < LogLevels.MaxCategories && _levels.TryAdd(category, LeastOf(category)))
                    changed.Add(new(category, _levels[category]));
            }

            if (Clock.GetElapsedTime(looked) >= LookPeriod)
            {
                changed.AddRange(_levels.Select(l => new KeyValuePair<string, LogLevel>(l.Key, LeastOf(l.Key))).Where(l => l.Value != _levels[l.Key]));
                looked = Clock.GetTimestamp();
            }

            foreach ((string category, LogLevel level) in changed)
                _levels[category] = level;
            LogLevel least = Ask(() => _sink.Least, _least);
            bool wantsCallSite = Ask(() => _sink.WantsCallSite, _wantsCallSite);
            if (changed.Count == 0 && least == _least && wantsCallSite == _wantsCallSite)
                continue;
            (_least, _wantsCallSite) = (least, wantsCallSite);
            Tell(changed);
        }
    }

    private LogLevel LeastOf(string category) => Ask(() => _sink.LeastOf(category), LogLevel.Trace);

    /// <summary>Asks the application's logging something.</summary>
    private T Ask<T>(Func<T> question, T otherwise)
    {
        try
        {
            return question();
        }
        catch (Exception error)
        {
            _onFailed(error);
            return otherwise;
        }
    }

    private void Tell(List<KeyValuePair<string, LogLevel>> levels)
    {
        // A frame holds so many names, whatever their length.
        foreach (KeyValuePair<string, LogLevel>[] some in levels.Chunk(100).DefaultIfEmpty([]))
        {
            var fields = new FieldWriter();
            new LogLevels(_least, _wantsCallSite, some).WriteTo(fields);
            _say!(FrameType.LogLevels, 0, fields.Written.ToArray());
        }
    }

    /// <summary>Something to write.</summary>
    /// <param name="Number">The child's number of the record; 0 when it has none.</param>
    /// <param name="Record">What to write, if anything.</param>
    /// <param name="IsRecovered">Whether it was found in the black box.</param>
    /// <param name="Then">What to do then, by the writing stream.</param>
    private readonly record struct Entry(long Number, LogRecord? Record, bool IsRecovered = false, Action? Then = null);
}
