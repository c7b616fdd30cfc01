using System.Diagnostics;
using Puma.Dataflow.Isolation.Supervision;

namespace Puma.Dataflow.Isolation.Launch;

/// <summary>A child process that has made contact. Any thread.</summary>
internal sealed class ChildProcess : IChildBody
{
    /// <summary>How long the last output may take to arrive after the exit; a grandchild may hold the pipes open for ever.</summary>
    private static readonly TimeSpan DrainGrace = TimeSpan.FromMilliseconds(500);

    /// <summary>How long a child whose connections were closed may take to end by itself.</summary>
    private static readonly TimeSpan LeaveGrace = TimeSpan.FromSeconds(1);

    /// <summary>How often a running child's signs of life are looked for.</summary>
    private static readonly TimeSpan WatchPeriod = TimeSpan.FromMilliseconds(500);

    private readonly Process _process;
    private readonly string _temporary;
    private readonly OutputPump _output;
    private readonly WindowsJob? _job;
    private readonly TaskCompletionSource _exitSeen = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly long _memoryKillsBefore = MemoryKills();
    private readonly Lock _gate = new();
    private ITimer? _watch;

    // Guarded by _gate.
    private BlackBox? _box;
    private ChildExitReason? _killedFor;
    private string? _killedWhy;
    private bool _isStopExpected;
    private bool _hasExited;

    // The watch's own.
    private long _beats;
    private int _missed;

    private ChildProcess(Process process, Action<int, bool, string> onLine)
    {
        _process = process;
        _temporary = RuntimeLeftovers.DirectoryOf(process.StartInfo.Environment.TryGetValue("TMPDIR", out string? temporary) ? temporary : null);
        ProcessId = process.Id;
        if (OperatingSystem.IsWindows())
            _job = new WindowsJob(process.Handle);
        process.Exited += (_, _) => _exitSeen.TrySetResult();
        process.EnableRaisingEvents = true;
        _output = new OutputPump(process, (isError, line) => onLine(ProcessId, isError, line));
        Exited = AwaitExitAsync();
    }

    /// <summary>Starts a child. When this throws, there is none.</summary>
    /// <param name="command">A command with all three streams redirected.</param>
    /// <param name="onLine">Hears each line that it writes: its process id, whether it is from standard error, the line.</param>
    public static ChildProcess Start(ProcessStartInfo command, Action<int, bool, string> onLine)
    {
#pragma warning disable RS0030 // This is the launcher: all children are started here.
        Process process = Process.Start(command)!;
#pragma warning restore RS0030
        try
        {
            return new ChildProcess(process, onLine);
        }
        catch
        {
            process.Kill();
            process.Dispose();
            throw;
        }
    }

    public int ProcessId { get; }

    public Stream Data { get; private set; } = Stream.Null;

    public Stream Control { get; private set; } = Stream.Null;

    public Task<ChildExit> Exited { get; }

    public bool IsEnding
    {
        get
        {
            lock (_gate)
                return _killedFor is not null || IsOver;
        }
    }

    public long ItemInWork
    {
        get
        {
            lock (_gate)
                return _box?.Item ?? 0;
        }
    }

    /// <summary>Tells the child whom to contact; its standard input stays open as its lifeline.</summary>
    /// <param name="box">This process's view of its black box, which is disposed with the child.</param>
    /// <param name="bootstrap">What it is told.</param>
    public void Tell(BlackBox box, Bootstrap bootstrap)
    {
        lock (_gate)
            _box = box;
        try
        {
            bootstrap.WriteTo(_process.StandardInput.BaseStream);
        }
        catch (IOException)
        {
            // It has ended; its exit says why.
        }
    }

    /// <summary>Takes the connections over and begins to watch for signs of life.</summary>
    public void Connect(Stream data, Stream control, TimeSpan hangTimeout)
    {
        (Data, Control) = (data, control);
        if (hangTimeout == Timeout.InfiniteTimeSpan || Debugger.IsAttached)
            return;

        // Missed periods are counted, not time: when this whole machine or process was stopped, nobody missed anything.
        int allowed = Math.Max(2, (int)(hangTimeout / WatchPeriod));
        _watch = TimeProvider.System.CreateTimer(_ => Watch(allowed, hangTimeout), null, WatchPeriod, WatchPeriod);
    }

    public void ExpectStop()
    {
        lock (_gate)
            _isStopExpected = true;
    }

    public void Terminate(ChildExitReason because)
    {
        lock (_gate)
        {
            if (IsOver || OperatingSystem.IsWindows())
                return;
            _killedFor ??= because;
            _ = UnixCalls.Kill(ProcessId, UnixCalls.SigTerm);
        }
    }

    public void Kill(ChildExitReason because, string? why = null)
    {
        lock (_gate)
        {
            if (IsOver)
                return;
            if (_killedFor is null)
                (_killedFor, _killedWhy) = (because, why);
            KillGroup();
        }
    }

    /// <summary>Whether the child has ended without our doing, though that may not have been seen yet: we did not kill it, and must not say so.</summary>
    private bool IsOver => _hasExited || _exitSeen.Task.IsCompleted || (_killedFor is null && ProcessEnd.HasBegun(ProcessId));

    public LastLog ReadLogAfter(long number)
    {
        lock (_gate)
        {
            return _box is null ? LastLog.None : LastLog.After(number, _box.Log);
        }
    }

    public async Task LeaveAsync()
    {
        ExpectStop();
        await Data.DisposeAsync().ConfigureAwait(false);
        await Control.DisposeAsync().ConfigureAwait(false);

        // Without its connections a child ends in good order. The end of its standard input would end it, and its group, at once.
        if (await Task.WhenAny(_exitSeen.Task, Task.Delay(LeaveGrace, TimeProvider.System)).ConfigureAwait(false) != _exitSeen.Task)
            Kill(ChildExitReason.StopTimedOut);
        await Exited.ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        await LeaveAsync().ConfigureAwait(false);
        try
        {
            await _process.StandardInput.DisposeAsync().ConfigureAwait(false);
        }
        catch (IOException)
        {
            // Nobody reads it any more.
        }

        if (_watch is not null)
            await _watch.DisposeAsync().ConfigureAwait(false);
        _job?.Dispose();
        lock (_gate)
        {
            _box?.Dispose();
            _box = null;
        }

        _process.Dispose();
    }

    private async Task<ChildExit> AwaitExitAsync()
    {
        await _exitSeen.Task.ConfigureAwait(false);
        lock (_gate)
        {
            _hasExited = true;

            // What it started and left behind goes with it.
            KillGroup();
        }

        RuntimeLeftovers.Remove(ProcessId, _temporary);
        await Task.WhenAny(_output.Drained, Task.Delay(DrainGrace, TimeProvider.System)).ConfigureAwait(false);
        _output.Dispose();

        // The black box is not freed before this has ended.
        lock (_gate)
        {
            ChildExit exit = ExitReading.Read(ProcessId, _process.ExitCode, _killedFor, _killedWhy, _isStopExpected, _output.ErrorTail, _box?.LastWords ?? "", MemoryKills() > _memoryKillsBefore);
            return _box?.Item is > 0 and var item ? exit with { ItemNumber = item } : exit;
        }
    }

    private void KillGroup()
    {
        if (_job is not null)
        {
            _job.Kill();
            return;
        }

        // Its group first, which it founded itself; before that, or when it is empty, the process alone.
        if (UnixCalls.Kill(-ProcessId, UnixCalls.SigKill) != 0 && !_hasExited)
            _ = UnixCalls.Kill(ProcessId, UnixCalls.SigKill);
    }

    private void Watch(int allowed, TimeSpan hangTimeout)
    {
        long beats;
        lock (_gate)
        {
            if (_box is null || _hasExited)
                return;
            beats = _box.Beats;
        }

        _missed = beats == _beats ? _missed + 1 : 0;
        _beats = beats;
        if (_missed > allowed)
            Kill(ChildExitReason.Hung, $"It was killed because it hung: it gave no sign of life within HangTimeout ({hangTimeout}).");
    }

    /// <summary>How often the system killed a process of this control group for memory; see cgroup v2, memory.events.</summary>
    private static long MemoryKills()
    {
        try
        {
            foreach (string line in OperatingSystem.IsLinux() ? File.ReadLines("/sys/fs/cgroup/memory.events") : [])
            {
                if (line.StartsWith("oom_kill ", StringComparison.Ordinal) && long.TryParse(line.AsSpan(9), out long kills))
                    return kills;
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Then it cannot be told.
        }

        return 0;
    }
}
