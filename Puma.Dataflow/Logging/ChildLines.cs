using Microsoft.Extensions.Logging;
using Puma.Dataflow.Diagnostics;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>What a child writes to standard output and error, as records of its category. Left out, and counted, are lines that come faster than a log should grow.</summary>
/// <param name="writing">Writes the records.</param>
/// <param name="events">Where the library tells how many lines were left out.</param>
/// <param name="stage">The stage.</param>
/// <param name="category">The category of its user code.</param>
internal sealed class ChildLines(LogWriting writing, ILogger events, string stage, string category)
{
    /// <summary>How many lines are written in a second, and how many may wait for that.</summary>
    private const int MaxLinesPerSecond = 1000, MaxLines = 2000;

    private readonly Lock _gate = new();

    // Guarded by _gate.
    private int _waiting;
    private int _thisSecond;
    private long _second;
    private long _leftOut;

    // The writing stream's own, and of whoever comes after it.
    private OncePerSecond _leftOutTold;

    private static TimeProvider Clock => TimeProvider.System;

    /// <summary>The child has written a line. Any thread.</summary>
    public void Add(int processId, bool isError, string line)
    {
        if (!TryTakeRoom())
            return;
        writing.Add(
            new LogRecord
            {
                Level = isError ? LogLevel.Warning : LogLevel.Information,
                Category = category + (isError ? ".stderr" : ".stdout"),
                Time = Clock.GetUtcNow().Ticks,
                Message = line,
                ScopeProperties = [new(StageLogger.Stage, stage)],
                ProcessId = processId,
                ThreadId = 0,
            },
            then: FreeRoom);
    }

    /// <summary>Tells how many lines were left out, in a flood once a second. The writing stream only, or when that has ended.</summary>
    public void TellLeftOut(bool isLast)
    {
        if (!isLast && !_leftOutTold.IsDue)
            return;
        long leftOut;
        lock (_gate)
            (leftOut, _leftOut) = (_leftOut, 0);
        if (leftOut == 0)
            return;
        _leftOutTold.OnTold();
        Log.ChildLinesLeftOut(events, stage, leftOut);
    }

    private bool TryTakeRoom()
    {
        lock (_gate)
        {
            long second = Clock.GetTimestamp() / Clock.TimestampFrequency;
            if (second != _second)
                (_second, _thisSecond) = (second, 0);
            if (_thisSecond >= MaxLinesPerSecond || _waiting >= MaxLines)
            {
                _leftOut++;
                return false;
            }

            _thisSecond++;
            _waiting++;
            return true;
        }
    }

    private void FreeRoom()
    {
        lock (_gate)
            _waiting--;
    }
}
