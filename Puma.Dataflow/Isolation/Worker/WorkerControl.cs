using Microsoft.Extensions.Logging;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Calls;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Logging.Forwarding;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>What a worker's stream must look at before it goes on.</summary>
[Flags]
internal enum WorkerAttention
{
    None = 0,

    /// <summary>A body ends as soon as it can.</summary>
    Stop = 1,

    /// <summary>No further item is handled.</summary>
    Finish = 2,

    /// <summary>Everything is given up.</summary>
    Discard = 4,

    /// <summary>Commands wait, or a tick may be due.</summary>
    Control = 8,

    /// <summary>A body begins.</summary>
    Begin = 16,
}

/// <summary>The control connection of a worker: what comes by it sets bits and fires tokens, and wakes the stream.</summary>
/// <remarks>The pump of the connection handles what comes. Everything that is not said to be the stream's is safe for any thread.</remarks>
internal sealed class WorkerControl : IAsyncDisposable
{
    private readonly Wakeups _wakeups = new();
    private readonly FrameChannel _channel;
    private readonly CancellationTokenSource _discarding = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource<StartRecord> _start = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<EndRecord> _end = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _parentGone = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Bits are set by any thread; Control is cleared by the stream, the others never.
    private int _attention;

    // What the parent decided of a failed item. Written by the pump, taken by the stream.
    private Verdict? _verdict;

    /// <param name="connection">The connection.</param>
    /// <param name="mark">Where the item in work is noted so that it outlives the process; null for nowhere.</param>
    /// <param name="ring">Where log records outlive it; null when there is no process of its own.</param>
    public WorkerControl(Stream connection, IWorkMark? mark, LogRing? ring)
    {
        // The data connection is served by ServedBy.ThreadOfReader: what comes there is for the stream alone.
        _wakeups.Stream.StaysWithReceiver = true;
        Item = new ItemInWork(mark, _discarding.Token);
        _channel = new FrameChannel(connection, FrameFormat.MaxControl, OnReadable, servedBy: ServedBy.OwnThreads);
        Logging = new ChildLogging(_channel, ring);
        Status = new StatusSender(_channel);
    }

    public FrameChannel Channel => _channel;

    /// <summary>The calls to the user code, and from there. Set by the stream before the parent knows that there is any.</summary>
    public CallConnection? Calls { get; set; }

    public ItemInWork Item { get; }

    /// <summary>The logging of the user code.</summary>
    public ChildLogging Logging { get; }

    /// <summary>Sends what the user code reports.</summary>
    public StatusSender Status { get; }

    public ChildOutputs Outputs { get; } = new();

    /// <summary>Where a failure of a token's callback is told. Set by the stream before user code is made.</summary>
    public ILogger? Logger { get; set; }

    /// <summary>What the parent says first.</summary>
    public Task<StartRecord> Start => _start.Task;

    /// <summary>What the parent says last.</summary>
    public Task<EndRecord> End => _end.Task;

    public Task ParentGone => _parentGone.Task;

    public CancellationToken DiscardToken => _discarding.Token;

    public CancellationToken StopToken => _stopping.Token;

    public bool IsDiscarding => Has(WorkerAttention.Discard);

    public bool IsStopping => Has(WorkerAttention.Stop | WorkerAttention.Finish | WorkerAttention.Discard);

    /// <summary>Whether no further item is handled.</summary>
    public bool IsOver => Has(WorkerAttention.Finish | WorkerAttention.Discard);

    /// <summary>Whether the stream must look at what it was told before the next item.</summary>
    public bool NeedsAttention => Volatile.Read(ref _attention) != 0;

    public bool Has(WorkerAttention bits) => (Volatile.Read(ref _attention) & (int)bits) != 0;

    public void Listen() => _channel.Start();

    public async ValueTask DisposeAsync()
    {
        await _channel.DisposeAsync().ConfigureAwait(false);
        await Logging.DisposeAsync().ConfigureAwait(false);
    }

    public void Say(FrameType type, long number = 0, ReadOnlySpan<byte> payload = default, int attempt = 0)
    {
        _channel.Write(type, number, payload, attempt: attempt);
        _channel.Flush();
    }

    /// <summary>Says something that may come with an error.</summary>
    public void Tell(FrameType type, Exception? error)
    {
        var fields = new FieldWriter();
        if (error is not null)
            ErrorRecord.Of(error).WriteTo(fields);
        Say(type, payload: fields.Written);
    }

    /// <summary>Ends the stage early, as completed.</summary>
    public void RequestFinish()
    {
        Say(FrameType.FinishRequested);
        Stop(WorkerAttention.Finish);
    }

    public void RaiseControl() => Raise(WorkerAttention.Control);

    public void Wake() => _wakeups.Set();

    /// <summary>Adds a signal for an emit, which may run beside the stream. The stream only.</summary>
    public Wakeup AddWakeup() => _wakeups.Add();

    /// <summary>Waits until something may have changed.</summary>
    /// <param name="at">Where to wait; null for the stream's own signal.</param>
    public ValueTask WaitAsync(Wakeup? at = null) => (at ?? _wakeups.Stream).WaitAsync();

    /// <summary>Clears the control bit; the lane and the schedule know what is due. The stream only.</summary>
    public void ClearControl() => Interlocked.And(ref _attention, ~(int)WorkerAttention.Control);

    /// <summary>Takes what the parent decided last. The stream only.</summary>
    /// <returns>Whether the item is tried again; null when nothing was decided of it. A verdict of another item is dropped: that item is settled.</returns>
    public bool? TakeVerdict(long number) =>
        Interlocked.Exchange(ref _verdict, null) is { } verdict && verdict.Number == number ? verdict.IsRetry : null;

    private void OnReadable()
    {
        try
        {
            while (_channel.TryPeek(out Frame frame))
            {
                OnFrame(frame);
                _channel.Advance();
            }
        }
        catch (ProtocolViolationException)
        {
            // Nothing that comes from there can be believed any more.
            OnParentGone();
            return;
        }

        if (_channel.HasEnded)
            OnParentGone();
    }

    private void OnFrame(Frame frame)
    {
        var reader = new FieldReader(frame.Payload);
        switch (frame.Type)
        {
            case FrameType.Start:
                _start.TrySetResult(StartRecord.ReadFrom(ref reader));
                break;
            case FrameType.Begin:
                Raise(WorkerAttention.Begin);
                break;
            case FrameType.Credit:
                Outputs.AddCredits(frame.Port, frame.Number);
                Wake();
                break;
            case FrameType.CancelItem when frame.Flags.HasFlag(FrameFlags.Canceled):
                Observe(Item.CancelAsync(frame.Number));
                break;
            case FrameType.CancelItem:
                Observe(Item.TimeOutAsync(frame.Number, frame.Attempt));
                break;
            case FrameType.Limit:
                Observe(Item.LimitAsync(frame.Number));
                break;
            case FrameType.Retry or FrameType.Proceed:
                Volatile.Write(ref _verdict, new Verdict(frame.Number, frame.Type == FrameType.Retry));
                Wake();
                break;
            case FrameType.Stop:
                Stop(WorkerAttention.Stop);
                break;
            case FrameType.Finish:
                Stop(WorkerAttention.Finish);
                break;
            case FrameType.Cancel:
                Discard();
                break;
            case FrameType.LogTaken:
                Logging.Sender.OnTaken(frame.Number);
                break;
            case FrameType.StatusTaken:
                Status.OnTaken(frame.Number);
                break;
            case FrameType.LogLevels:
                Logging.Levels.Set(LogLevels.ReadFrom(ref reader));
                break;
            case FrameType.End:
                _end.TrySetResult(EndRecord.ReadFrom(ref reader));

                // Code that was never told to begin ends, too.
                Raise(WorkerAttention.Finish);
                break;
            case var _ when Calls?.TryReceive(frame) == true:
                break;
            default:
                throw new ProtocolViolationException($"The parent sent a {frame.Type} frame on the control connection.");
        }
    }

    private void OnParentGone()
    {
        Discard();
        Logging.Sender.OnParentGone();
        _parentGone.TrySetResult();
    }

    private void Discard()
    {
        Stop(WorkerAttention.Discard);
        Observe(_discarding.CancelAsync());
    }

    private void Stop(WorkerAttention bit)
    {
        Raise(bit);
        Observe(_stopping.CancelAsync());
    }

    private void Raise(WorkerAttention bits)
    {
        Interlocked.Or(ref _attention, (int)bits);
        Wake();
    }

    /// <summary>What user code does when its token fires may fail; that is worth a line in the log.</summary>
    private void Observe(Task canceling) => _ = ObserveAsync(canceling);

    private async Task ObserveAsync(Task canceling)
    {
        try
        {
            await canceling.ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Logger?.Log(LogLevel.Warning, default, ExceptionText.MessageOf(error), error, static (message, _) => $"A callback of a cancellation token failed: {message}");
        }
    }

    private sealed record Verdict(long Number, bool IsRetry);
}
