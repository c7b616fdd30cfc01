using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>A stage that runs a <see cref="PortRunnable"/>: its inputs in turn, one item at a time.</summary>
/// <param name="setup">What the stage is made from.</param>
/// <param name="makeRunnable">Makes the runnable.</param>
/// <param name="inputs">Finds the inputs on the runnable, in the order of the input links.</param>
/// <param name="outputs">Finds the outputs on the runnable and connects them, in the order of the output links.</param>
internal sealed class PortStage(
    StageSetup setup,
    Func<PortRunnable> makeRunnable,
    IReadOnlyList<Func<PortRunnable, PortStage, Link, PortReader>> inputs,
    IReadOnlyList<Func<PortRunnable, PortStage, Link, IAttemptOutputs>> outputs)
    : SingleInstanceStage(setup)
{
    private readonly List<PortReader> _readers = [];
    private PortRunnable _runnable = null!;
    private OwnThread? _thread;
    private long _number;

    public PortOutputs AllOutputs { get; } = new();

    public AttemptRunner Attempts { get; private set; } = null!;

    /// <summary>Whether an input has ended and the runnable does not know it yet. Any thread, once the stage has started.</summary>
    public bool HasUntoldEnd => _readers.Exists(static r => r.HasUntoldEnd);

    protected override async ValueTask<IControlledCode> StartInstanceAsync(StageContext context)
    {
        if (Options.OwnThread)
            _thread = new OwnThread(Name);
        Attempts = new AttemptRunner(this, context);
        await CallAsync(() =>
        {
            _runnable = makeRunnable();
            for (int i = 0; i < outputs.Count; i++)
                AllOutputs.Add(outputs[i](_runnable, this, Outputs[i]));
            for (int i = 0; i < inputs.Count; i++)
                _readers.Add(inputs[i](_runnable, this, Inputs[i]));
            return _runnable.StartAsync(context, DiscardToken);
        }).ConfigureAwait(false);
        return new RunnableCode(_runnable, CallAsync);
    }

    protected override async Task RunAsync()
    {
        EnterLane();
        int next = 0;
        while (true)
        {
            if (NeedsAttention)
            {
                if (IsDiscarding || IsFinishing)
                    return;
                await CheckpointAsync().ConfigureAwait(false);
            }

            // One item of the next input that has one, so that each gets its turn.
            bool hasHandled = false;
            for (int i = 0; i < _readers.Count && !hasHandled; i++)
            {
                PortReader reader = _readers[(next + i) % _readers.Count];
                hasHandled = await reader.TryHandleNextAsync(_number + 1).ConfigureAwait(false);
                if (hasHandled)
                {
                    _number++;
                    next = (next + i + 1) % _readers.Count;
                }
            }

            // An input that has ended is told at once, not only when the others have nothing to do.
            if (hasHandled && Options.FanIn == FanIn.All && !_readers.Exists(static r => r.HasUntoldEnd && r.HasEnded))
                continue;
            if (await CompleteEndedInputsAsync().ConfigureAwait(false))
                break;
            if (hasHandled)
                continue;
            await WaitAsync(StageActivity.WaitingForInput).ConfigureAwait(false);
            BeginWork();
        }

        await AllOutputs.EmitsReturnedAsync().ConfigureAwait(false);
        if (!MustGiveUp)
            await CallAsync(() => _runnable.CompletedAsync(DiscardToken)).ConfigureAwait(false);
    }

    protected override ValueTask ReturnAllAsync() => AllOutputs.EmitsReturnedAsync();

    protected override ValueTask EndInstanceAsync(RunState outcome, Exception? cause) => CallAsync(() => _runnable.EndAsync(outcome, cause));

    protected override void CleanUp()
    {
        base.CleanUp();
        Attempts?.Dispose();
        _thread?.Dispose();
    }

    public ValueTask CallAsync(Func<ValueTask> callback) => _thread?.InvokeAsync(callback) ?? callback();

    /// <returns>True when enough inputs have ended.</returns>
    private async ValueTask<bool> CompleteEndedInputsAsync()
    {
        // Looked at first: an input that ends while another is told of its end is told at the next turn.
        bool haveEnded = HaveInputsEnded();
        foreach (PortReader reader in _readers)
        {
            if (reader.HasEnded && !MustGiveUp && reader.TakeCompletion() is { } onCompleted)
                await AwaitBetweenItemsAsync(CallAsync(() => onCompleted(DiscardToken))).ConfigureAwait(false);
        }

        return haveEnded;
    }
}

/// <summary>One input of a port stage.</summary>
internal abstract class PortReader
{
    public abstract bool HasEnded { get; }

    /// <summary>Whether the end of the input was written and not handed out yet. Any thread.</summary>
    public abstract bool HasUntoldEnd { get; }

    /// <summary>Handles and settles the next item of this input, if there is one.</summary>
    public abstract ValueTask<bool> TryHandleNextAsync(long number);

    /// <summary>What runs now that the input has ended, if anything; handed out once.</summary>
    public abstract Func<CancellationToken, ValueTask>? TakeCompletion();
}

/// <inheritdoc/>
internal sealed class PortReader<T>(PortStage stage, Input<T> port, Link<T> link) : PortReader
{
    private readonly PortHandler _handler = new(stage, port);
    private bool _isEndTold;

    public override bool HasEnded => link.End is not null;

    public override bool HasUntoldEnd => link.IsCompleted && !Volatile.Read(ref _isEndTold);

    public override async ValueTask<bool> TryHandleNextAsync(long number)
    {
        if (!link.TryRead(out T item))
            return false;
        link.CountReceived();
        ValueTask<Fate> handling = stage.Attempts.HandleAsync<T, NoOutput, PortOutputs>(_handler, item, number, stage.AllOutputs, stage.DiscardToken);
        Fate fate = handling.IsCompleted ? await handling.ConfigureAwait(false) : await stage.AwaitUserCodeAsync(handling).ConfigureAwait(false);
        await stage.SettleAsync(link, item, number, fate).ConfigureAwait(false);
        return true;
    }

    public override Func<CancellationToken, ValueTask>? TakeCompletion()
    {
        if (_isEndTold)
            return null;
        Volatile.Write(ref _isEndTold, true);
        return port.End();
    }

    private sealed class PortHandler(PortStage stage, Input<T> port) : ItemHandler<T, NoOutput>
    {
        public override ValueTask HandleAsync(T item, Emitter<NoOutput> output, CancellationToken cancellationToken) =>
            stage.Options.OwnThread ? stage.CallAsync(() => port.OnItem(item, cancellationToken)) : port.OnItem(item, cancellationToken);
    }
}

/// <summary>All outputs of a port stage as the outputs of one attempt.</summary>
internal sealed class PortOutputs : Emitter<NoOutput>, IAttemptOutputs
{
    private readonly List<IAttemptOutputs> _outputs = [];

    public IItemClock? Clock
    {
        set => _outputs.ForEach(o => o.Clock = value);
    }

    public void Add(IAttemptOutputs output) => _outputs.Add(output);

    public override ValueTask EmitAsync(NoOutput value, CancellationToken cancellationToken) => default;

    public void Hold() => _outputs.ForEach(static o => o.Hold());

    public void DropHeld() => _outputs.ForEach(static o => o.DropHeld());

    public async ValueTask PassHeldAsync()
    {
        foreach (IAttemptOutputs output in _outputs)
            await output.PassHeldAsync().ConfigureAwait(false);
    }

    public async ValueTask EmitsReturnedAsync()
    {
        foreach (IAttemptOutputs output in _outputs)
            await output.EmitsReturnedAsync().ConfigureAwait(false);
    }

    public bool TakeRefused()
    {
        bool wasRefused = false;
        foreach (IAttemptOutputs output in _outputs)
            wasRefused |= output.TakeRefused();
        return wasRefused;
    }
}
