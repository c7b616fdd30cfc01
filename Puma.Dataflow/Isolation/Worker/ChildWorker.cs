using Microsoft.Extensions.Logging;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>
/// The other end of an isolated stage: makes one instance of its user code and runs it, on one stream, as the parent says. Lives in a
/// child process, or in this one for loopback.
/// </summary>
/// <remarks>
/// The stream alone runs user code and reads the data connection. What comes by the control connection is handled by its pump: it sets
/// bits and fires tokens, and wakes the stream.
/// </remarks>
internal sealed class ChildWorker
{
    [Flags]
    private enum Attention
    {
        None = 0,
        Stop = 1,
        Finish = 2,
        Discard = 4,
        Tick = 8,
        Begin = 16,
    }

    private readonly Lock _gate = new();
    private readonly Wakeup _wakeup = new();
    private readonly Stream _dataStream;
    private readonly FrameChannel _control;
    private readonly IWorkMark? _mark;
    private readonly TimeProvider _time;
    private readonly CancellationTokenSource _discarding = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource<StartRecord> _start = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<EndRecord?> _end = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _parentGone = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // The stream's own, but for AddCredits.
    private readonly List<IChildOutput> _outputs = [];
    private readonly PayloadReader _reader = new();
    private FrameChannel? _data;
    private HostedCode? _code;
    private StageContext? _context;
    private ChildLogger? _logger;
    private bool _isInTick;
    private int _attempt;

    // Volatile, because a handler that waits may go on on another thread before the call of it has returned.
    private volatile bool _isInBurst;
    private volatile bool _hasStarted;

    // Bits are set by any thread; Tick is cleared by the stream, the others never.
    private int _attention;

    // Items above it are not begun. Written by the control pump, before it looks at the item in work.
    private long _limit = long.MaxValue;

    // Guarded by _gate: the item in work, and what was said of it.
    private CancellationTokenSource _itemSource;
    private long _current;
    private bool _isTimedOut;

    // What the parent decided of the failed item. Written by the control pump, taken by the stream.
    private Verdict? _verdict;

    private ChildWorker(Stream data, Stream control, IWorkMark? mark, TimeProvider time)
    {
        _dataStream = data;
        _mark = mark;
        _time = time;
        _itemSource = CancellationTokenSource.CreateLinkedTokenSource(_discarding.Token);
        _control = new FrameChannel(control, FrameFormat.MaxControl, OnControlReadable);
    }

    /// <summary>What the parent said; valid once the user code is made.</summary>
    public StartRecord Start { get; private set; } = null!;

    public CancellationToken DiscardToken => _discarding.Token;

    public bool IsDiscarding => Has(Attention.Discard);

    public bool IsStopping => Has(Attention.Stop | Attention.Finish | Attention.Discard);

    /// <summary>Whether an output that has a credit may go out now. Before the start is over the parent reads nothing, so nothing is waited for.</summary>
    public bool CanSend(long credits) => !IsDiscarding && (!_hasStarted || (credits > 0 && !_data!.IsCongested));

    /// <summary>Whether a tick is due that an emit lets in. Only code with a body has ticks there; others have them between two items.</summary>
    public bool NeedsCheckpoint => Has(Attention.Tick) && !_isInTick && _code is { HasBody: true };

    /// <summary>Runs until the user code was told of the end, or the parent is gone.</summary>
    /// <param name="data">The data connection.</param>
    /// <param name="control">The control connection.</param>
    /// <param name="mark">Where the item in work is noted so that it can be read when the process is gone; null for nowhere.</param>
    /// <param name="time">The clock of ticks.</param>
    public static async Task RunAsync(Stream data, Stream control, IWorkMark? mark, TimeProvider time)
    {
        var worker = new ChildWorker(data, control, mark, time);
        await using (worker._control.ConfigureAwait(false))
            await worker.RunAsync().ConfigureAwait(false);
    }

    private async Task RunAsync()
    {
        _control.Start();
        if (await Task.WhenAny(_start.Task, _parentGone.Task).ConfigureAwait(false) != _start.Task)
            return;
        Start = await _start.Task.ConfigureAwait(false);

        // Errors travel there, too, however small the items are.
        _data = new FrameChannel(_dataStream, Math.Max(Start.MaxPayload, FrameFormat.MaxControl), Wake, Wake);
        await using (_data.ConfigureAwait(false))
        {
            _data.Start();
            if (await TryStartAsync().ConfigureAwait(false))
            {
                await RunCodeAsync().ConfigureAwait(false);
                await EndAsync().ConfigureAwait(false);
            }

            // The parent closes the connections when it has read everything.
            await _parentGone.Task.ConfigureAwait(false);
        }
    }

    private async Task<bool> TryStartAsync()
    {
        try
        {
            Func<IItemCodec>? makeCodec = (Func<IItemCodec>?)Start.Codec?.Resolve();
            var codecs = new ItemCodecs(makeCodec?.Invoke(), [.. Start.DerivedTypes.Select(DelegateIdentity.FindType)]);
            var ticks = new TickSchedule(_time, Start.TickInterval == 0 ? null : TimeSpan.FromTicks(Start.TickInterval), Start.TicksPaused, () => Raise(Attention.Tick));
            _context = new StageContext(Start.Stage, Start.Instance, _logger = new ChildLogger(_control, (LogLevel)Start.LogLevel), _time, ticks, RequestFinish);
            var host = (HostMaker)Start.Host.Resolve();
            _code = host(ReadRecipe(host, codecs), new HostSetup(this, codecs, Start.OwnThread, Start.Stage));
            await _code.StartAsync(_context, DiscardToken).ConfigureAwait(false);
            ticks.Start();
        }
        catch (Exception error)
        {
            Tell(FrameType.StartFailed, error);
            return false;
        }

        _hasStarted = true;
        _control.Write(FrameType.Started);
        _control.Flush();
        return true;
    }

    private Recipe ReadRecipe(HostMaker host, ItemCodecs codecs)
    {
        object? options = null;
        Type? type = Start.OptionsType is { } name ? DelegateIdentity.FindType(name) : null;
        if (type is not null)
        {
            var payload = new PayloadReader();
            payload.Reset(new System.Buffers.ReadOnlySequence<byte>(Start.Options), Start.OptionsHaveBlocks);
            options = codecs.ReadUntyped(type, payload);
        }

        return new Recipe(host, Start.Maker.Resolve(), Start.UserCode?.Resolve(), options, type, Start.Ports);
    }

    private async Task RunCodeAsync()
    {
        bool isCompleted = false;
        try
        {
            isCompleted = _code!.HasBody ? await RunBodyAsync().ConfigureAwait(false) : await HandleItemsAsync().ConfigureAwait(false);
        }
        catch (Exception error)
        {
            SendFailed(0, 0, error, (IsDiscarding || (_code!.HasBody && IsStopping)) && error is OperationCanceledException ? FrameFlags.Canceled : FrameFlags.None);
        }

        _data!.Write(isCompleted ? FrameType.Completed : FrameType.Idle);
        _data.Flush();
    }

    private async Task EndAsync()
    {
        await Task.WhenAny(_end.Task, _parentGone.Task).ConfigureAwait(false);
        _context!.Ticks.End();
        Exception? failure = null;
        try
        {
            EndRecord? end = _end.Task.IsCompletedSuccessfully ? await _end.Task.ConfigureAwait(false) : null;
            await _code!.EndAsync(end?.Outcome ?? RunState.Canceled, end?.Cause?.ToException()).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            failure = error;
        }

        _logger!.TellDropped();
        Tell(FrameType.Ended, failure);
    }

    // ---- The stream. -------------------------------------------------------------------------------------------------------------

    /// <returns>True when the body has ended and was told that nothing more is wanted of it.</returns>
    private async Task<bool> RunBodyAsync()
    {
        while (!Has(Attention.Begin | Attention.Stop | Attention.Finish | Attention.Discard))
            await WaitAsync().ConfigureAwait(false);
        if (IsStopping)
            return false;
        try
        {
            await _code!.ProduceAsync(_stopping.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (IsStopping)
        {
            // The body ended because it was asked to.
        }

        if (IsDiscarding)
            return false;
        await _code!.CompletedAsync(DiscardToken).ConfigureAwait(false);
        return true;
    }

    /// <returns>True when all input was handled and the code was told so.</returns>
    private async Task<bool> HandleItemsAsync()
    {
        while (true)
        {
            if (Has(Attention.Discard | Attention.Finish))
                return false;
            if (Has(Attention.Tick))
                await TickAsync().ConfigureAwait(false);

            if (!_data!.TryPeek(out Frame frame))
            {
                if (_data.HasEnded)
                    return false;
                await _code!.IdleAsync(DiscardToken).ConfigureAwait(false);

                // It may have waited, and taken the signals of what came meanwhile.
                if (!_data.TryPeek(out _) && !_data.HasEnded && !Has(Attention.Discard | Attention.Finish | Attention.Tick))
                    await WaitAsync().ConfigureAwait(false);
                continue;
            }

            switch (frame.Type)
            {
                case FrameType.Item when frame.Number > Volatile.Read(ref _limit):
                    await WaitAsync().ConfigureAwait(false);
                    break;
                case FrameType.Item:
                    await HandleAsync(frame).ConfigureAwait(false);
                    break;
                case FrameType.InputEnded:
                    _data.Advance();
                    await _code!.InputEndedAsync(frame.Port, DiscardToken).ConfigureAwait(false);
                    break;
                case FrameType.Complete:
                    _data.Advance();
                    await _code!.CompletedAsync(DiscardToken).ConfigureAwait(false);
                    return true;
                default:
                    throw new ProtocolViolationException($"The parent sent a {frame.Type} frame on the data connection.");
            }
        }
    }

    private async ValueTask HandleAsync(Frame frame)
    {
        long number = frame.Number;
        HeldItem item;
        try
        {
            _reader.Reset(frame.Payload, frame.Flags.HasFlag(FrameFlags.HasBlocks));
            item = _code!.Read(frame.Port, _reader);
        }
        catch (Exception error)
        {
            _data!.Advance();
            SendFailed(number, frame.Attempt, error, FrameFlags.NotCarried);
            await WaitForVerdictAsync(number).ConfigureAwait(false);
            return;
        }

        _data!.Advance();

        // A replay after a loss goes on with the attempt that it had reached. From there the attempts are counted here, because a frame has one byte for them.
        for (int attempt = Math.Max((int)frame.Attempt, 1); ; attempt++)
        {
            Exception? failure = null;
            bool isTimedOut = false;
            if (!TryBegin(number, attempt, out CancellationToken token))
            {
                while (!Has(Attention.Discard | Attention.Finish))
                    await WaitAsync().ConfigureAwait(false);
                break;
            }

            if (Start.Retries > 0)
                _outputs.ForEach(static o => o.Hold());
            try
            {
                // What it makes at once goes out together; from its first wait on, each output as soon as it is made.
                _isInBurst = true;
                ValueTask handling = item.HandleAsync(token);
                _isInBurst = false;
                if (!handling.IsCompleted)
                    _data.Flush();
                await handling.ConfigureAwait(false);
            }
            catch (OutOfMemoryException error) when (_mark is not null)
            {
                // Nothing in this process can be relied on any more.
                _mark.GiveUp($"Out of memory while item {number} was handled: {error.Message}");
            }
            catch (Exception error)
            {
                failure = error;
            }

            _isInBurst = false;
            isTimedOut = EndCurrent();
            if (failure is null && !isTimedOut)
            {
                try
                {
                    foreach (IChildOutput output in Start.Retries > 0 ? _outputs : [])
                        await output.PassHeldAsync().ConfigureAwait(false);
                }
                catch (Exception error)
                {
                    failure = error;
                }
            }

            bool wasRefused = TakeRefused();
            if (failure is null && !isTimedOut)
            {
                _data.Write(FrameType.Done, number, attempt: attempt, flags: wasRefused ? FrameFlags.WasRefused : FrameFlags.None);
                _data.Flush();
                break;
            }

            _outputs.ForEach(static o => o.DropHeld());
            FrameFlags flags = isTimedOut ? FrameFlags.TimedOut : FrameFlags.None;
            if (failure is ItemCodecException)
                flags |= FrameFlags.NotCarried;

            // The item's token follows that of the worker a little later.
            bool isOurs = !isTimedOut && (token.IsCancellationRequested || IsDiscarding);
            if (isOurs && (failure is OperationCanceledException || (wasRefused && failure?.InnerException is OperationCanceledException)))
                flags |= FrameFlags.Canceled;
            SendFailed(number, attempt, failure, flags);
            if (!await WaitForVerdictAsync(number).ConfigureAwait(false))
                break;
        }

        _current = 0;
        _reader.Release();
    }

    /// <returns>False when a lower item has failed meanwhile, so that this one is not begun any more.</returns>
    private bool TryBegin(long number, int attempt, out CancellationToken token)
    {
        (_context!.ItemNumber, _context.Attempt) = (number, attempt);
        _attempt = attempt;
        lock (_gate)
        {
            token = default;
            if (number > Volatile.Read(ref _limit))
                return false;
            if (_itemSource.IsCancellationRequested)
            {
                _itemSource.Dispose();
                _itemSource = CancellationTokenSource.CreateLinkedTokenSource(_discarding.Token);
            }

            (_current, _isTimedOut) = (number, false);
            token = _itemSource.Token;
        }

        _mark?.Begin(number, attempt);
        if (Start.TellsItems)
        {
            _control.Write(FrameType.Began, number, attempt: attempt);
            _control.Flush();
        }

        return true;
    }

    /// <returns>Whether the item's time had run out.</returns>
    private bool EndCurrent()
    {
        bool isTimedOut;
        lock (_gate)
            isTimedOut = _isTimedOut;
        _mark?.End();
        if (Start.TellsItems)
        {
            _control.Write(FrameType.Began);
            _control.Flush();
        }

        return isTimedOut;
    }

    private bool TakeRefused()
    {
        bool wasRefused = false;
        foreach (IChildOutput output in _outputs)
            wasRefused |= output.TakeRefused();
        return wasRefused;
    }

    /// <returns>Whether the item is tried again.</returns>
    private async ValueTask<bool> WaitForVerdictAsync(long number)
    {
        // Nothing that the parent can say makes a difference then.
        if (!Start.FaultsAtError && Start.Retries == 0)
            return false;
        while (!Has(Attention.Discard | Attention.Finish))
        {
            if (Interlocked.Exchange(ref _verdict, null) is { } verdict && verdict.Number == number)
                return verdict.IsRetry;
            await WaitAsync().ConfigureAwait(false);
        }

        return false;
    }

    /// <summary>Runs the tick that is due in code with a body, if there is one. The stream only.</summary>
    public async ValueTask CheckpointAsync()
    {
        if (!NeedsCheckpoint)
            return;

        // A tick may emit; that emit must not run the next tick inside of this one.
        _isInTick = true;
        try
        {
            await TickAsync().ConfigureAwait(false);
        }
        finally
        {
            _isInTick = false;
        }
    }

    private ValueTask TickAsync()
    {
        Interlocked.And(ref _attention, ~(int)Attention.Tick);
        return _context!.Ticks.TryTake() ? _code!.TickAsync(DiscardToken) : default;
    }

    /// <summary>Sends what is ready and waits until something may have changed. The stream only.</summary>
    public ValueTask WaitAsync()
    {
        _data!.Flush();
        return _wakeup.WaitAsync();
    }

    public async ValueTask WaitForStopAsync()
    {
        while (!IsStopping)
        {
            await CheckpointAsync().ConfigureAwait(false);
            if (!IsStopping)
                await WaitAsync().ConfigureAwait(false);
        }
    }

    public void AddOutput(IChildOutput output) => _outputs.Add(output);

    /// <summary>Sends an output of the item in work.</summary>
    /// <exception cref="ItemCodecException">It cannot be carried; nothing was sent.</exception>
    public void Send<T>(ushort port, T value, ItemCodec<T> codec, PayloadWriter writer)
    {
        writer.Reset();
        codec.Write(writer, value);
        if (writer.Length > Start.MaxPayload)
            throw new ItemCodecException(typeof(T), null, $"its encoded form has {writer.Length} bytes; at most {Start.MaxPayload} can travel (MaxItemSize)");
        _data!.Write(FrameType.Result, Volatile.Read(ref _current), writer, port, _attempt);
        if (!_isInBurst)
            _data.Flush();
    }

    private void SendFailed(long number, int attempt, Exception? error, FrameFlags flags)
    {
        var fields = new FieldWriter();
        ErrorRecord.Of(error ?? new TimeoutException("The handler returned only after its time had run out.")).WriteTo(fields);
        if (Start.FaultsAtError && !flags.HasFlag(FrameFlags.Canceled) && (attempt > Start.Retries || flags.HasFlag(FrameFlags.NotCarried)))
        {
            _control.Write(FrameType.Failing, number);
            _control.Flush();
        }

        _data!.Write(FrameType.Failed, number, fields.Written, attempt: attempt, flags: flags);
        _data.Flush();
    }

    private void Tell(FrameType type, Exception? error)
    {
        var fields = new FieldWriter();
        if (error is not null)
            ErrorRecord.Of(error).WriteTo(fields);
        _control.Write(type, payload: fields.Written);
        _control.Flush();
    }

    // ---- What the control connection says. Its pump. ----------------------------------------------------------------------------------

    private void OnControlReadable()
    {
        try
        {
            while (_control.TryPeek(out Frame frame))
            {
                OnControl(frame);
                _control.Advance();
            }
        }
        catch (ProtocolViolationException)
        {
            // Nothing that comes from there can be believed any more.
            OnParentGone();
            return;
        }

        if (_control.HasEnded)
            OnParentGone();
    }

    private void OnControl(Frame frame)
    {
        var reader = new FieldReader(frame.Payload);
        switch (frame.Type)
        {
            case FrameType.Start:
                _start.TrySetResult(StartRecord.ReadFrom(ref reader));
                break;
            case FrameType.Begin:
                Raise(Attention.Begin);
                break;
            case FrameType.Credit:
                if (frame.Port < _outputs.Count)
                    _outputs[frame.Port].AddCredits(frame.Number);
                Wake();
                break;
            case FrameType.CancelItem:
                CancelCurrent(n => n == frame.Number, isTimeout: true);
                break;
            case FrameType.Limit:
                Volatile.Write(ref _limit, frame.Number);
                CancelCurrent(n => n > frame.Number, isTimeout: false);
                break;
            case FrameType.Retry:
                Volatile.Write(ref _verdict, new Verdict(frame.Number, IsRetry: true));
                Wake();
                break;
            case FrameType.Proceed:
                Volatile.Write(ref _verdict, new Verdict(frame.Number, IsRetry: false));
                Wake();
                break;
            case FrameType.Stop:
                Raise(Attention.Stop);
                Observe(_stopping.CancelAsync());
                break;
            case FrameType.Finish:
                Raise(Attention.Finish);
                Observe(_stopping.CancelAsync());
                break;
            case FrameType.Cancel:
                Discard();
                break;
            case FrameType.End:
                _end.TrySetResult(EndRecord.ReadFrom(ref reader));

                // Code that was never told to begin ends, too.
                Raise(Attention.Finish);
                break;
            default:
                throw new ProtocolViolationException($"The parent sent a {frame.Type} frame on the control connection.");
        }
    }

    private void CancelCurrent(Func<long, bool> isMeant, bool isTimeout)
    {
        lock (_gate)
        {
            if (_current == 0 || !isMeant(_current))
                return;
            _isTimedOut |= isTimeout;

            // Inside the lock, so that it does not hit the next item. The callbacks run elsewhere.
            Observe(_itemSource.CancelAsync());
        }
    }

    private void Discard()
    {
        Raise(Attention.Discard);
        Observe(_stopping.CancelAsync());
        Observe(_discarding.CancelAsync());
    }

    private void OnParentGone()
    {
        Discard();
        _parentGone.TrySetResult();
    }

    public void RequestFinish()
    {
        _control.Write(FrameType.FinishRequested);
        _control.Flush();
        Raise(Attention.Finish);
        Observe(_stopping.CancelAsync());
    }

    public void Wake() => _wakeup.Set();

    private void Raise(Attention bits)
    {
        Interlocked.Or(ref _attention, (int)bits);
        Wake();
    }

    private bool Has(Attention bits) => (Volatile.Read(ref _attention) & (int)bits) != 0;

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
            if (_context is { } context)
                context.Logger.Log(LogLevel.Warning, default, error.Message, error, static (message, _) => $"A callback of a cancellation token failed: {message}");
        }
    }

    private sealed record Verdict(long Number, bool IsRetry);
}

/// <summary>Notes the item in work where it outlives the process.</summary>
internal interface IWorkMark
{
    void Begin(long number, int attempt);

    void End();

    /// <summary>Notes why the process cannot go on, and ends it.</summary>
    void GiveUp(string reason);
}
