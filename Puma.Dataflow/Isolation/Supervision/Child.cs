using Puma.Dataflow.Isolation.Calls;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Logging;

namespace Puma.Dataflow.Isolation.Supervision;

/// <summary>What a child tells its stage outside of its data. Called by the child's pumps; must neither block nor throw. Disposed with the child.</summary>
internal interface IChildOwner : ICallServer, IDisposable
{
    /// <summary>What carries the arguments and results of calls.</summary>
    ItemCodecs Codecs { get; }

    void Wake();

    void OnFailing(long itemNumber);

    void OnFinishRequested();

    void OnItemBegan(Child child, long itemNumber, int attempt);

    /// <summary>The handler waits for a slot.</summary>
    void OnItemWaits();

    void OnItemGoesOn();

    void OnItemReturned();

    /// <summary>The child has ended, and so has all that it said.</summary>
    void OnGone(Child child, ChildExit exit);
}

/// <summary>A child that has started its user code: its body, its two connections, and what it said last.</summary>
/// <remarks>The stage's stream reads the data connection; everything else is safe for any thread.</remarks>
internal sealed class Child : IAsyncDisposable
{
    /// <summary>How long a child that closed a connection may take to end before it is killed. A process that ends closes them at its very end.</summary>
    private static readonly TimeSpan ExitGrace = TimeSpan.FromMilliseconds(500);

    /// <summary>How long a child that was terminated may take to end before it is killed.</summary>
    private static readonly TimeSpan TerminateGrace = TimeSpan.FromMilliseconds(200);

    private readonly IChildBody _body;
    private readonly IChildOwner _owner;
    private readonly ChildLog _log;
    private readonly StatusReceiver _status;
    private readonly FrameChannel _control;
    private readonly TaskCompletionSource<ErrorRecord?> _started = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<ErrorRecord?> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _isDataBroken;
    private volatile bool _isDisposed;

    // Set by the control pump when nothing more can come.
    private volatile bool _isControlOver;

    private Child(IChildBody body, int maxPayload, IChildOwner owner, ChildLog log, StatusReceiver status)
    {
        _body = body;
        _owner = owner;
        _log = log;
        _status = status;
        _control = new FrameChannel(body.Control, FrameFormat.MaxControl, OnControlReadable);
        Calls = new CallConnection(_control, () => owner.Codecs, owner, holdsInstance: null, CallerWaitsForLogAsync);
        Data = new FrameChannel(body.Data, maxPayload, owner.Wake, owner.Wake, ServedBy.OwnThreadsWithTurns);
    }

    public int ProcessId => _body.ProcessId;

    public FrameChannel Data { get; }

    /// <summary>The calls to its user code, and from there.</summary>
    public CallConnection Calls { get; }

    /// <summary>Ends with how the child ended.</summary>
    public Task<ChildExit> Exited => _body.Exited;

    /// <summary>Whether short items may be sent to it in packs. Known when it has started.</summary>
    public bool TakesPacks { get; private set; }

    /// <summary>What the child did against the protocol, if it did.</summary>
    public ProtocolViolationException? Violation { get; private set; }

    /// <summary>Whether nothing more will come from the child. The stage's stream only.</summary>
    public bool HasEnded => _isDataBroken || Data.HasEnded;

    private Task Watching { get; set; } = Task.CompletedTask;

    /// <summary>Makes the user code of a child and starts it.</summary>
    /// <param name="body">The child; disposed when this fails.</param>
    /// <param name="start">What it is to make.</param>
    /// <param name="owner">The stage.</param>
    /// <param name="log">The child's log; the child's from then on, and disposed with it.</param>
    /// <param name="status">Takes what it reports.</param>
    /// <param name="timeout">How long it may take.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="RemoteRunnableException">The user code threw.</exception>
    /// <exception cref="ChildStartException">The child was lost or too slow.</exception>
    public static async Task<Child> StartAsync(IChildBody body, StartRecord start, IChildOwner owner, ChildLog log, StatusReceiver status, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var child = new Child(body, start.MaxPayload, owner, log, status);
        try
        {
            child.Listen();
            long begin = TimeProvider.System.GetTimestamp();
            ErrorRecord? error;
            try
            {
                // The application's logging may take its time to say what it wants.
                await log.AttachAsync((type, number, payload) => child.Say(type, number, payload.Span)).WaitAsync(timeout, TimeProvider.System, cancellationToken).ConfigureAwait(false);
                if (timeout > TimeSpan.Zero && (timeout -= TimeProvider.System.GetElapsedTime(begin)) < TimeSpan.Zero)
                    timeout = TimeSpan.Zero;
                var fields = new FieldWriter();
                start.WriteTo(fields);
                child.Say(FrameType.Start, payload: fields.Written);
                error = await child._started.Task.WaitAsync(timeout, TimeProvider.System, cancellationToken).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                body.Kill(ChildExitReason.StartTimedOut);
                throw new ChildStartException(await body.Exited.ConfigureAwait(false));
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw new ChildStartException(await body.Exited.ConfigureAwait(false));
            }

            return error is null ? child : throw error.ToException();
        }
        catch
        {
            body.ExpectStop();
            await child.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private void Listen()
    {
        _control.Start();
        Data.Start();
        Watching = WatchAsync();
    }

    /// <summary>Sends a frame on the control connection.</summary>
    public void Say(FrameType type, long number = 0, ReadOnlySpan<byte> payload = default, int port = 0, int attempt = 0, FrameFlags flags = FrameFlags.None)
    {
        _control.Write(type, number, payload, (ushort)port, attempt, flags);
        _control.Flush();
    }

    /// <summary>Whether a report of the child, or a later one, is on the board, or can never come; the owner is woken when that changes. Any thread.</summary>
    public bool HasReported(long number) => _status.Taken >= number || _isControlOver;

    /// <summary>Shows the next frame of the data connection. A child that breaks the protocol is killed. The stage's stream only.</summary>
    public bool TryPeek(out Frame frame)
    {
        frame = default;
        if (_isDataBroken)
            return false;
        try
        {
            return Data.TryPeek(out frame);
        }
        catch (ProtocolViolationException violation)
        {
            Break(violation);
            return false;
        }
    }

    /// <summary>Ends the child because of what it sent. The stage's stream only.</summary>
    public void Break(ProtocolViolationException violation)
    {
        _isDataBroken = true;
        Violation ??= violation;
        _body.Kill(ChildExitReason.ProtocolViolated);
    }

    /// <summary>Goes on to the next frame. The stage's stream only.</summary>
    public void Advance() => Data.Advance();

    public void Kill(ChildExitReason because) => _body.Kill(because);

    /// <summary>Ends when what a child that has exited had logged is written, or that takes long.</summary>
    public Task LastWordsAsync() => Task.WhenAny(FlushLogAsync(), Task.Delay(ExitGrace, TimeProvider.System));

    /// <summary>What user code logged before an answer is in the log before the caller goes on, or that takes long.</summary>
    private Task CallerWaitsForLogAsync() => _log.FlushRecordsAsync().WaitAsync(ExitGrace, TimeProvider.System);

    private async Task FlushLogAsync()
    {
        await Watching.ConfigureAwait(false);
        await _log.FlushAsync().ConfigureAwait(false);
    }

    /// <summary>The item for which the child was killed, because its handler had not returned in time; null when it was not.</summary>
    public long? OverdueItem { get; private set; }

    /// <summary>Kills a child whose handler has not returned in time. When it has by now, its answer is on its way. Called once at most.</summary>
    public void KillOverdue(long itemNumber, string why)
    {
        if (_body.ItemInWork != itemNumber)
            return;

        // Before the kill: whoever sees the exit sees this, too.
        OverdueItem = itemNumber;
        _body.Kill(ChildExitReason.Hung, why);
    }

    /// <summary>Waits until the code was told of the end; asks, terminates and kills a child that takes too long.</summary>
    /// <returns>What the code threw at its end, if anything.</returns>
    public async Task<ErrorRecord?> EndAsync(EndRecord end, TimeSpan grace)
    {
        _body.ExpectStop();
        var fields = new FieldWriter();
        end.WriteTo(fields);
        Say(FrameType.End, payload: fields.Written);
        try
        {
            return await _ended.Task.WaitAsync(grace, TimeProvider.System).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            await EndByForceAsync(_body, ChildExitReason.StopTimedOut).ConfigureAwait(false);
            throw new TimeoutException($"The child process {ProcessId} did not end within StopGrace ({grace}) and was killed; OnEndAsync may not have run to its end.");
        }
    }

    /// <summary>Terminates a child that did not do what it was asked, then kills it.</summary>
    public static async Task EndByForceAsync(IChildBody body, ChildExitReason because)
    {
        body.Terminate(because);
        await Task.WhenAny(body.Exited, Task.Delay(TerminateGrace, TimeProvider.System)).ConfigureAwait(false);
        body.Kill(because);
    }

    /// <summary>Ends the child, whatever it does, and frees all that belongs to it.</summary>
    public async ValueTask DisposeAsync()
    {
        _isDisposed = true;
        try
        {
            await Data.DisposeAsync().ConfigureAwait(false);
            await _control.DisposeAsync().ConfigureAwait(false);
        }
        finally
        {
            await _body.LeaveAsync().ConfigureAwait(false);
            await Watching.ConfigureAwait(false);
            await _body.DisposeAsync().ConfigureAwait(false);
            await _log.DisposeAsync().ConfigureAwait(false);
            _owner.Dispose();
        }
    }

    private async Task WatchAsync()
    {
        // Without either connection a child is of no use, whether it ends or its code has closed what was not its own.
        await Task.WhenAny(_body.Exited, Data.Receiving, _control.Receiving).ConfigureAwait(false);
        if (!_isDisposed)
        {
            if (await Task.WhenAny(_body.Exited, Task.Delay(ExitGrace, TimeProvider.System)).ConfigureAwait(false) != _body.Exited)
                _body.Kill(ChildExitReason.ProtocolViolated);
        }

        await _body.Exited.ConfigureAwait(false);
        _started.TrySetCanceled();
        _ended.TrySetCanceled();
        _owner.Wake();

        // What it had said comes first, then what it could not say any more.
        await Task.WhenAny(_control.Receiving, Task.Delay(ExitGrace, TimeProvider.System)).ConfigureAwait(false);
        _owner.OnGone(this, await _body.Exited.ConfigureAwait(false));
        _log.Recover(_body.ReadLogAfter);
    }

    // ---- The control pump. -----------------------------------------------------------------------------------------------------------

    private void OnControlReadable()
    {
        try
        {
            while (_control.TryPeek(out Frame frame))
            {
                OnControl(frame);
                _control.Advance();
            }

            if (_status.TryTell(out long taken))
            {
                Say(FrameType.StatusTaken, taken);
                _owner.Wake();
            }

            if (!_control.HasEnded)
                return;
        }
        catch (ProtocolViolationException violation)
        {
            Violation ??= violation;
            _body.Kill(ChildExitReason.ProtocolViolated);
        }

        _isControlOver = true;
        _owner.Wake();
    }

    private void OnControl(Frame frame)
    {
        var reader = new FieldReader(frame.Payload);
        switch (frame.Type)
        {
            case FrameType.Started:
                // Before it is known to have started.
                TakesPacks = frame.Number != 0;
                _started.TrySetResult(null);
                break;
            case FrameType.StartFailed:
                _started.TrySetResult(ErrorRecord.ReadFrom(ref reader));
                break;
            case FrameType.Ended:
                _ended.TrySetResult(reader.IsAtEnd ? null : ErrorRecord.ReadFrom(ref reader));
                break;
            case FrameType.Failing:
                _owner.OnFailing(frame.Number);
                break;
            case FrameType.FinishRequested:
                _owner.OnFinishRequested();
                break;
            case FrameType.Began:
                _owner.OnItemBegan(this, frame.Number, frame.Attempt);
                break;
            case FrameType.Waits:
                _owner.OnItemWaits();
                break;
            case FrameType.GoesOn:
                _owner.OnItemGoesOn();
                break;
            case FrameType.Returned:
                _owner.OnItemReturned();
                break;
            case FrameType.Log:
                _log.Add(frame.Number, LogRecord.ReadFrom(ref reader));
                break;
            case FrameType.LogDropped:
                _log.AddDropped(ref reader);
                break;
            case FrameType.LogCategory:
                _log.AddCategory(reader.RequiredText());
                break;
            case FrameType.StatusType:
                _status.AddType(frame.Number, reader.RequiredText());
                break;
            case FrameType.Status:
                _status.Add(frame);
                break;
            case var _ when Calls.TryReceive(frame):
                break;
            default:
                throw new ProtocolViolationException($"A child sent a {frame.Type} frame on the control connection.");
        }
    }
}
