using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Protocol;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Isolation.Worker;

/// <summary>An output port of a child.</summary>
internal interface IChildOutput : IAttemptOutputs
{
    /// <summary>Allows further outputs. Any thread.</summary>
    void AddCredits(long count);

    /// <summary>Whether an emit has not returned.</summary>
    bool IsEmitting { get; }
}

/// <summary>All output ports of a child as the outputs of one attempt. They are added by the stream while it starts, before the parent can know of any.</summary>
internal sealed class ChildOutputs : IAttemptOutputs
{
    private readonly List<IChildOutput> _outputs = [];

    public void Add(IChildOutput output) => _outputs.Add(output);

    /// <summary>Allows further outputs of a port. Any thread.</summary>
    public void AddCredits(int port, long count)
    {
        if (port < _outputs.Count)
            _outputs[port].AddCredits(count);
    }

    /// <summary>Whether an emit has not returned.</summary>
    public bool IsEmitting => _outputs.Exists(static o => o.IsEmitting);

    public async ValueTask EmitsReturnedAsync()
    {
        foreach (IChildOutput output in _outputs)
            await output.EmitsReturnedAsync().ConfigureAwait(false);
    }

    public void Hold() => _outputs.ForEach(static o => o.Hold());

    public void DropHeld() => _outputs.ForEach(static o => o.DropHeld());

    public async ValueTask PassHeldAsync()
    {
        foreach (IChildOutput output in _outputs)
            await output.PassHeldAsync().ConfigureAwait(false);
    }

    public bool TakeRefused()
    {
        bool wasRefused = false;
        foreach (IChildOutput output in _outputs)
            wasRefused |= output.TakeRefused();
        return wasRefused;
    }
}

/// <summary>Sends outputs to the parent, as many as it has granted. Belongs to the worker's stream.</summary>
internal sealed class ChildEmitter<T>(ChildWorker worker, StartRecord start, ResultWriter results, ushort port, ItemCodec<T> codec) : Emitter<T>, IChildOutput
{
    private readonly WorkerControl _control = worker.Control;
    private readonly List<T> _held = [];

    // Its own: the outputs of a runnable with several may emit at the same time.
    private readonly PayloadWriter _writer = new();
    private bool _isHolding;
    private bool _wasRefused;

    // For ever enough where none are needed.
    private long _credits = start.Credits[port] == StartRecord.NoCredits ? long.MaxValue : start.Credits[port];

    private readonly EmitGate _gate = new();
    private readonly EmitsUnderWay _underWay = new();
    private readonly Wakeup _wakeup = worker.Control.AddWakeup();

    public override bool IsStopping => _control.IsStopping;

    public override int Room => (int)Math.Clamp(Volatile.Read(ref _credits), 0, int.MaxValue);

    public override IBodyStream Body => worker;

    public void AddCredits(long count) => Interlocked.Add(ref _credits, count);

    public bool IsEmitting => _underWay.IsAny;

    public ValueTask EmitsReturnedAsync() => _underWay.WhenNoneAsync(_control.Wake);

    /// <exception cref="InvalidOperationException">Another emit has not returned.</exception>
    public override ValueTask EmitAsync(T value, CancellationToken cancellationToken)
    {
        if (!_gate.TryEnter())
            throw new InvalidOperationException($"Stage '{start.Stage}' emits while another of its emits has not returned. Await each EmitAsync before the next one.");
        _gate.Stay();
        if (worker.NeedsCheckpoint || (!_isHolding && (_control.Item.HasRunOut || !CanSend)))
            return EmitSlowAsync(value, cancellationToken);
        try
        {
            if (_isHolding)
                _held.Add(value);
            else
                Send(value);
            return default;
        }
        finally
        {
            _gate.LeaveAfterStay();
        }
    }

    private bool CanSend => results.CanSend(Volatile.Read(ref _credits));

    private void Send(T value)
    {
        results.Send(port, value, codec, _writer);
        Interlocked.Decrement(ref _credits);
    }

    /// <summary>Whether as many outputs and one more may go out now.</summary>
    public bool CanSendAfter(int sent) => results.CanSend(Volatile.Read(ref _credits) - sent);

    /// <summary>Sends the only output of an item of a pack. Its credit is the caller's to take, by <see cref="AddCredits"/>. The stream only.</summary>
    /// <exception cref="ItemCodecException">It cannot be carried; nothing was sent.</exception>
    public void SendPacked(long number, T value)
    {
        if (results.TrySendPacked(number, value, codec, _writer))
            return;
        results.SendWritten<T>(port, _writer);
        results.SendDone(number, attempt: 1, wasRefused: false);
    }

    private async ValueTask EmitSlowAsync(T value, CancellationToken cancellationToken)
    {
        _underWay.Begin();
        try
        {
            await CheckpointAsync().ConfigureAwait(false);
            if (_isHolding)
            {
                _held.Add(value);
                return;
            }

            if (!CanSend)
                await WaitUntilItCanSendAsync(cancellationToken).ConfigureAwait(false);
            if (_control.Item.HasRunOut)
                throw ItemTime.RunOut(start.Stage, cancellationToken);
            Send(value);
        }
        finally
        {
            _gate.LeaveAfterStay();
            _underWay.End();
        }
    }

    private async ValueTask WaitUntilItCanSendAsync(CancellationToken cancellationToken)
    {
        using CancellationTokenRegistration wake = cancellationToken.CanBeCanceled
            ? cancellationToken.UnsafeRegister(static state => ((WorkerControl)state!).Wake(), _control)
            : default;

        // Before the parent hears of it: whoever knows that it waits knows that its time stands still.
        _control.Item.Pause();
        if (start.TellsItems)
            _control.Say(FrameType.Waits);
        try
        {
            while (!CanSend)
            {
                if (_control.IsDiscarding)
                {
                    _wasRefused = true;
                    throw new OperationCanceledException($"Stage '{start.Stage}' gives up what it holds; nothing can be emitted any more.", _control.DiscardToken);
                }

                if (cancellationToken.IsCancellationRequested)
                {
                    _wasRefused = true;
                    cancellationToken.ThrowIfCancellationRequested();
                }

                await results.WaitAsync(_wakeup).ConfigureAwait(false);
                await CheckpointAsync().ConfigureAwait(false);
            }
        }
        finally
        {
            _control.Item.Resume();
            if (start.TellsItems)
                _control.Say(FrameType.GoesOn);
        }
    }

    /// <summary>Lets commands and ticks in, which may emit, too.</summary>
    private async ValueTask CheckpointAsync()
    {
        if (!worker.NeedsCheckpoint)
            return;
        _gate.LeaveAfterStay();
        try
        {
            await worker.CheckpointAsync().ConfigureAwait(false);
        }
        finally
        {
            await _gate.EnterAsync(_control.Wake).ConfigureAwait(false);
            _gate.Stay();
        }
    }

    public void Hold()
    {
        _isHolding = true;
        _held.Clear();
    }

    public void DropHeld()
    {
        _isHolding = false;
        _held.Clear();
    }

    public async ValueTask PassHeldAsync()
    {
        _isHolding = false;
        foreach (T value in _held)
            await EmitAsync(value, default).ConfigureAwait(false);
        _held.Clear();
    }

    public bool TakeRefused()
    {
        bool wasRefused = _wasRefused;
        _wasRefused = false;
        return wasRefused;
    }
}
