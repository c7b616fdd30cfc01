using System.Threading.Channels;
using Puma.Dataflow.Isolation.Protocol;

namespace Puma.Dataflow.Logging;

/// <summary>
/// Writes to the application's logging, one after the other, on a stream of its own, so that logging which is slow holds up nobody who has
/// something to write.
/// </summary>
/// <remarks>Any thread may call it.</remarks>
internal sealed class LogWriting : IAsyncDisposable
{
    /// <summary>After how much writing it is told how far that has come.</summary>
    private static readonly TimeSpan BurstTime = TimeSpan.FromMilliseconds(100);

    private readonly LogSink _sink;
    private readonly Action<Exception> _onFailed;
    private readonly Action<long> _onWritten;
    private readonly Channel<Entry> _entries = Channel.CreateUnbounded<Entry>(new() { SingleReader = true });
    private readonly Task _stream;

    /// <param name="sink">Where records are written.</param>
    /// <param name="onFailed">Is told when the application's logging throws.</param>
    /// <param name="onWritten">Is told by the stream after each burst: up to which number records are written, or 0 when none with a number was.</param>
    public LogWriting(LogSink sink, Action<Exception> onFailed, Action<long> onWritten)
    {
        (_sink, _onFailed, _onWritten) = (sink, onFailed, onWritten);
        _stream = Task.Run(WriteAsync);
    }

    /// <summary>Writes a record.</summary>
    /// <param name="record">What to write.</param>
    /// <param name="number">The child's number of it; 0 when it has none.</param>
    /// <param name="isRecovered">Whether it was found in the black box.</param>
    /// <param name="then">What the stream does when it is written.</param>
    public void Add(LogRecord record, long number = 0, bool isRecovered = false, Action? then = null) =>
        _entries.Writer.TryWrite(new Entry(number, record, isRecovered, then));

    /// <summary>Has the stream do something when everything is written that was added before.</summary>
    /// <returns>False when it has ended, or will when it has written what is left.</returns>
    public bool Then(Action action) => _entries.Writer.TryWrite(new Entry(0, null, false, action));

    /// <summary>Ends when everything is written that was added so far.</summary>
    public Task FlushAsync()
    {
        var written = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        return Then(() => written.TrySetResult()) ? written.Task : _stream;
    }

    /// <summary>Writes what is left and ends.</summary>
    public ValueTask DisposeAsync()
    {
        _entries.Writer.TryComplete();
        return new ValueTask(_stream);
    }

    private async Task WriteAsync()
    {
        while (await _entries.Reader.WaitToReadAsync().ConfigureAwait(false))
        {
            long written = 0, begin = TimeProvider.System.GetTimestamp();
            for (int burst = 0; burst < 100 && TimeProvider.System.GetElapsedTime(begin) < BurstTime && _entries.Reader.TryRead(out Entry entry); burst++)
            {
                if (entry.Record is { } record)
                    Write(record, entry.IsRecovered);
                entry.Then?.Invoke();
                if (entry.Number > 0)
                    written = entry.Number;
            }

            _onWritten(written);
        }
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

    /// <summary>Something to write, or to do, or both in this order.</summary>
    private readonly record struct Entry(long Number, LogRecord? Record, bool IsRecovered, Action? Then);
}
