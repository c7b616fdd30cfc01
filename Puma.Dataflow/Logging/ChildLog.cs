using System.Buffers;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>
/// The log of one child in its parent: takes in each record of the child once, whether the child has sent it or it was found in the black
/// box, and has it written together with the child's lines of output. Slow logging holds up neither the child's other messages nor its items.
/// </summary>
/// <remarks>Any thread may call it. Only the streams of <see cref="LogWriting"/> and <see cref="LevelWatch"/> call the application's logging.</remarks>
internal sealed class ChildLog : IAsyncDisposable
{
    private readonly ILogger _events;
    private readonly string _stage;
    private readonly LogWriting _writing;
    private readonly ChildLines _lines;
    private readonly LevelWatch _levels;

    // Set once, before the child can have said anything; read by the streams.
    private Action<FrameType, long, ReadOnlyMemory<byte>>? _say;

    private readonly Lock _taking = new();

    // Guarded by _taking. What came last, and by level: how many records the child has dropped, and how many came.
    private long _lastNumber;
    private readonly long[] _dropped = new long[(int)LogLevel.None];
    private readonly long[] _taken = new long[(int)LogLevel.None];

    // Written by the writing stream, read by any thread.
    private long _lastWritten;

    // Guarded by _taking. By level, how many records the child had accepted; none before it is gone.
    private IReadOnlyList<long> _accepted = LastLog.None.Accepted;

    /// <param name="sink">Where records are written.</param>
    /// <param name="events">Where the library tells what became of records.</param>
    /// <param name="stage">The stage.</param>
    /// <param name="category">The category of its user code.</param>
    /// <param name="onFailed">Is told when the application's logging throws.</param>
    public ChildLog(LogSink sink, ILogger events, string stage, string category, Action<Exception> onFailed)
    {
        (_events, _stage) = (events, stage);
        _writing = new LogWriting(sink, onFailed, OnWritten);
        _lines = new ChildLines(_writing, events, stage, category);
        _levels = new LevelWatch(sink, category, onFailed);
    }

    /// <summary>Connects it with a child.</summary>
    /// <returns>Ends when the child was told which levels are wanted.</returns>
    public Task AttachAsync(Action<FrameType, long, ReadOnlyMemory<byte>> say)
    {
        _say = say;
        return _levels.BeginAsync(levels =>
        {
            var fields = new FieldWriter();
            levels.WriteTo(fields);
            say(FrameType.LogLevels, 0, fields.Written.ToArray());
        });
    }

    /// <summary>The child has logged something.</summary>
    public void Add(long number, LogRecord record)
    {
        lock (_taking)
        {
            // What was found in the black box meanwhile is there already.
            if (number > _lastNumber)
                TakeLocked(number, record, isRecovered: false);
        }
    }

    /// <summary>The child logs in a category for the first time.</summary>
    public void AddCategory(string category) => _levels.Add(category);

    /// <summary>The child has dropped records: how many since the beginning, by level.</summary>
    public void AddDropped(ref FieldReader counts)
    {
        lock (_taking)
        {
            for (LogLevel level = LogLevel.Trace; level < LogLevel.None; level++)
                AddDroppedLocked(level, counts.Long());
        }
    }

    /// <summary>The child has written a line to standard output or error.</summary>
    public void AddLine(int processId, bool isError, string line) => _lines.Add(processId, isError, line);

    /// <summary>The child is gone: what it had logged and not sent is read from its black box.</summary>
    public void Recover(Func<long, LastLog> readAfter)
    {
        lock (_taking)
        {
            LastLog last = readAfter(_lastNumber);
            foreach ((long number, byte[] bytes) in last.Records)
            {
                var reader = new FieldReader(new ReadOnlySequence<byte>(bytes));
                try
                {
                    TakeLocked(number, LogRecord.ReadFrom(ref reader), isRecovered: true);
                }
                catch (ProtocolViolationException)
                {
                    // Whatever ended the child has written there, too. What is not read is counted as lost.
                    break;
                }
            }

            for (LogLevel level = LogLevel.Trace; level < LogLevel.None; level++)
                AddDroppedLocked(level, last.Dropped[(int)level]);
            _accepted = last.Accepted;
        }
    }

    /// <summary>Ends when everything is written that was taken in so far.</summary>
    public Task FlushAsync() => _writing.FlushAsync();

    /// <summary>The same for records alone, without a wait when there are none.</summary>
    public Task FlushRecordsAsync()
    {
        lock (_taking)
        {
            if (Volatile.Read(ref _lastWritten) >= _lastNumber)
                return Task.CompletedTask;
        }

        return FlushAsync();
    }

    /// <summary>Writes what is left and ends.</summary>
    public async ValueTask DisposeAsync()
    {
        await _levels.DisposeAsync().ConfigureAwait(false);
        AddLost();
        await _writing.DisposeAsync().ConfigureAwait(false);
        _lines.TellLeftOut(isLast: true);
    }

    private void TakeLocked(long number, LogRecord record, bool isRecovered)
    {
        _lastNumber = number;
        _taken[(int)record.Level]++;
        _writing.Add(record, number, isRecovered);
    }

    private void AddDroppedLocked(LogLevel level, long total)
    {
        long count = total - _dropped[(int)level];
        if (count <= 0)
            return;
        _dropped[(int)level] = total;
        _writing.Then(() => Log.ChildLogDropped(_events, _stage, count, level));
    }

    /// <summary>What the child had accepted, and neither sent before it died nor kept in its black box.</summary>
    private void AddLost()
    {
        lock (_taking)
        {
            for (LogLevel level = LogLevel.Trace; level < LogLevel.None; level++)
            {
                (LogLevel of, long count) = (level, _accepted[(int)level] - _taken[(int)level]);
                if (count > 0)
                    _writing.Then(() => Log.ChildLogLost(_events, _stage, count, of));
            }
        }
    }

    /// <summary>The child is told that there is room again. The writing stream only.</summary>
    private void OnWritten(long number)
    {
        if (number > 0)
            Volatile.Write(ref _lastWritten, number);
        if (number > 0)
            _say?.Invoke(FrameType.LogTaken, number, default);
        _lines.TellLeftOut(isLast: false);
    }
}
