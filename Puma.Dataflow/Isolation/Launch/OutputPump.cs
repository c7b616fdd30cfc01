using System.Diagnostics;
using System.Globalization;
using System.IO.Pipes;
using System.Text;

namespace Puma.Dataflow.Isolation.Launch;

/// <summary>
/// Drains what a child writes to standard output and error, line by line, so that it never blocks on a full pipe. A thread of its own,
/// because a pipe is read by blocking; it ends when both are closed, or soon after it is told to, even if a grandchild holds them open.
/// </summary>
internal sealed unsafe class OutputPump : IDisposable
{
    private const int LongestLine = 8 * 1024;
    private const int TailLength = 64 * 1024;
    private const int PollMilliseconds = 100;

    private readonly Lock _gate = new();
    private readonly StringBuilder _tail = new();
    private readonly Action<bool, string> _onLine;
    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Source[] _sources;
    private volatile bool _isDisposed;
    private int _open;

    /// <param name="process">A started process with both outputs redirected; they are disposed of at their end.</param>
    /// <param name="onLine">Called for each line, with whether it is from standard error. By the pump's threads; must neither block nor throw.</param>
    public OutputPump(Process process, Action<bool, string> onLine)
    {
        _onLine = onLine;
        _sources = [new Source(process.StandardOutput.BaseStream, IsError: false), new Source(process.StandardError.BaseStream, IsError: true)];
        _open = _sources.Length;
        if (OperatingSystem.IsWindows())
        {
            // No poll there: one thread each. They end when the pipes are closed.
            foreach (Source source in _sources)
                new Thread(() => DrainOne(source)) { Name = "puma-output", IsBackground = true }.Start();
        }
        else
        {
            new Thread(DrainBoth, 256 * 1024) { Name = "puma-output", IsBackground = true }.Start();
        }
    }

    /// <summary>Ends when both outputs are closed.</summary>
    public Task Drained => _drained.Task;

    /// <summary>The last of what was written to standard error.</summary>
    public string ErrorTail
    {
        get
        {
            lock (_gate)
                return _tail.ToString().TrimEnd();
        }
    }

    public void Dispose() => _isDisposed = true;

    private void DrainBoth()
    {
        var entries = stackalloc UnixCalls.PollEntry[2];
        for (int i = 0; i < 2; i++)
            entries[i] = new UnixCalls.PollEntry { Descriptor = (int)((PipeStream)_sources[i].Stream).SafePipeHandle.DangerousGetHandle(), Wanted = UnixCalls.PollIn };
        var buffer = new byte[16 * 1024];
        while (!_isDisposed && (entries[0].Descriptor >= 0 || entries[1].Descriptor >= 0))
        {
            // A descriptor below zero is ignored by poll.
            if (UnixCalls.Poll(entries, 2, PollMilliseconds) <= 0)
                continue;
            for (int i = 0; i < 2; i++)
            {
                if (entries[i].Descriptor >= 0 && entries[i].Found != 0 && !ReadSome(_sources[i], buffer))
                    entries[i].Descriptor = -1;
            }
        }

        foreach (Source source in _sources)
            End(source);
    }

    private void DrainOne(Source source)
    {
        var buffer = new byte[16 * 1024];
        while (!_isDisposed && ReadSome(source, buffer))
        {
        }

        End(source);
    }

    private void End(Source source)
    {
        source.Stream.Dispose();
        FlushLine(source);
        if (Interlocked.Decrement(ref _open) == 0)
            _drained.TrySetResult();
    }

    /// <returns>False at the end of the stream.</returns>
    private bool ReadSome(Source source, byte[] buffer)
    {
        int read;
        try
        {
            read = source.Stream.Read(buffer, 0, buffer.Length);
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException)
        {
            return false;
        }

        if (read == 0)
            return false;
        Span<char> chars = new char[source.Decoder.GetCharCount(buffer.AsSpan(0, read), flush: false)];
        source.Decoder.GetChars(buffer.AsSpan(0, read), chars, flush: false);
        if (source.IsError)
            AddToTail(chars);
        foreach (char c in chars)
        {
            // A carriage return alone ends a line, too: what a terminal would overwrite.
            if (c is '\n' or '\r')
                FlushLine(source);
            else if (source.Line.Length < LongestLine)
                Append(source.Line, c);
        }

        return true;
    }

    /// <summary>Control characters are shown by their numbers: a line of a log is a line, and cannot move a terminal's cursor.</summary>
    private static void Append(StringBuilder line, char c)
    {
        if (char.IsControl(c) && c != '\t')
            line.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
        else
            line.Append(c);
    }

    private void AddToTail(ReadOnlySpan<char> chars)
    {
        lock (_gate)
        {
            _tail.Append(chars);
            if (_tail.Length > 2 * TailLength)
                _tail.Remove(0, _tail.Length - TailLength);
        }
    }

    private void FlushLine(Source source)
    {
        if (source.Line.Length == 0)
            return;
        string line = source.Line.ToString();
        source.Line.Clear();
        _onLine(source.IsError, line);
    }

    private sealed record Source(Stream Stream, bool IsError)
    {
        public Decoder Decoder { get; } = Encoding.UTF8.GetDecoder();

        public StringBuilder Line { get; } = new();
    }
}
