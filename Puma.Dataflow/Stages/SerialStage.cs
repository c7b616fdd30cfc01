using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>A stage with one instance: one item after another, outputs straight into the next link.</summary>
internal sealed partial class SerialStage<TIn, TOut, TOutputs>(StageSetup setup, Func<ItemHandler<TIn, TOut>> makeHandler, Func<StageNode, TOutputs> makeOutputs) : SingleInstanceStage(setup)
    where TOutputs : Emitter<TOut>, IAttemptOutputs
{
    /// <summary>After so many items without a wait the thread is offered to others.</summary>
    private const int ItemsPerTurn = 4096;

    /// <summary>After so many items without a wait more are expected at once.</summary>
    private const int ItemsOfABurst = 16;

    private Link<TIn> _input = null!;
    private TOutputs _outputs = null!;
    private ItemHandler<TIn, TOut> _handler = null!;
    private AttemptRunner _attempts = null!;

    // Set when the input is a fast link, and each item has one attempt.
    private BurstLink<TIn>? _fastInput;

    // Set when, in addition, the handler is no more than a delegate, and the output is a fast link.
    private Func<TIn, CancellationToken, TOut>? _transform;
    private BurstLink<TOut>? _fastOutput;

    // Set when, in addition, it is no more than a delegate without an output.
    private Action<TIn, CancellationToken>? _action;

    // How many items were handled, or are.
    private long _number;

    protected override async ValueTask<IControlledCode> StartInstanceAsync(StageContext context)
    {
        _input = (Link<TIn>)Inputs[0];
        _outputs = makeOutputs(this);
        _handler = makeHandler();
        _attempts = new AttemptRunner(this, context);
        if (_attempts.IsSimple && _input is BurstLink<TIn> input)
        {
            _fastInput = input;
            input.CountsReadsAsReceived = true;
            _action = ((object)_handler as ForEachHandler<TIn>)?.Action;
            if (_handler is TransformHandler<TIn, TOut> handler && Outputs[0] is BurstLink<TOut> output)
                (_transform, _fastOutput) = (handler.Transform, output);
        }

        await _handler.StartAsync(context, _outputs, DiscardToken).ConfigureAwait(false);
        return _handler;
    }

    protected override async Task RunAsync()
    {
        if (_handler.HasCommands)
            EnterLane();
        long rested = 0;
        while (true)
        {
            if (NeedsAttention)
            {
                if (IsDiscarding || IsFinishing)
                    return;
                await CheckpointAsync().ConfigureAwait(false);
            }

            if (_number - rested >= ItemsPerTurn)
            {
                rested = _number;
                await YieldAsync().ConfigureAwait(false);
            }

            if (!HandleBurst(rested + ItemsPerTurn, out TIn item, out ValueTask<Fate> handling))
            {
                if (_input.End is not null)
                {
                    // What the stage was told has its turn also behind the last item, once: a flood of commands keeps no stage.
                    if (!MustGiveUp && !IsFinishing)
                        await CheckpointAsync().ConfigureAwait(false);
                    if (MustGiveUp || IsFinishing)
                        return;
                    break;
                }

                if (NeedsAttention || _number - rested >= ItemsPerTurn)
                    continue;

                // After a burst the next one is likely on its way; who waits in the thread's queue may be the one that brings it.
                if (_number - rested >= ItemsOfABurst && !Turn.IsKeeping(this))
                {
                    rested = _number;
                    await YieldAsync().ConfigureAwait(false);
                    continue;
                }

                await WaitAsync(StageActivity.WaitingForInput).ConfigureAwait(false);
                BeginWork();
                rested = _number;
                continue;
            }

            Fate fate = handling.IsCompleted ? await handling.ConfigureAwait(false) : await AwaitUserCodeAsync(handling).ConfigureAwait(false);
            await this.SettleAsync(_input, item, _number, fate).ConfigureAwait(false);
        }

        await _outputs.EmitsReturnedAsync().ConfigureAwait(false);
        if (!MustGiveUp)
            await _handler.CompletedAsync(DiscardToken).ConfigureAwait(false);
    }

    protected override ValueTask ReturnAllAsync() => _outputs?.EmitsReturnedAsync() ?? default;

    /// <summary>Handles what is there, as long as each item is delivered at once.</summary>
    /// <param name="last">The number of the last item.</param>
    /// <param name="item">The item that takes longer, or has another fate.</param>
    /// <param name="handling">How it goes on.</param>
    /// <returns>Whether there is such an item; otherwise nothing is there, or the stage was told something.</returns>
    private bool HandleBurst(long last, out TIn item, out ValueTask<Fate> handling)
    {
        if (_fastInput is not null)
            return HandleFastBurst(_fastInput, last, out item, out handling);
        handling = default;
        Link<TIn> input = _input;
        do
        {
            if (!input.TryRead(out item))
                return false;
            input.CountReceived();
            if (!TryDeliver(item, out handling))
                return true;
            Counters.CountDelivered();
            input.Release(1);
        }
        while (!NeedsAttention && _number < last);

        // One item at least, so that a flood of commands does not keep the items out.
        return false;
    }

    /// <summary>Handles an item, if that is done at once and it is delivered.</summary>
    private bool TryDeliver(TIn item, out ValueTask<Fate> handling)
    {
        handling = _attempts.HandleAsync<TIn, TOut, TOutputs>(_handler, item, ++_number, _outputs, DiscardToken);
        if (!handling.IsCompletedSuccessfully)
            return false;
#pragma warning disable VSTHRD002 // It has completed, see above.
        Fate fate = handling.Result;
#pragma warning restore VSTHRD002
        handling = new ValueTask<Fate>(fate);
        return fate.Kind == FateKind.Delivered;
    }

    protected override ValueTask EndInstanceAsync(RunState outcome, Exception? cause) => _handler.EndAsync(outcome, cause);

    protected override void CleanUp()
    {
        base.CleanUp();
        _attempts?.Dispose();
        _handler?.Dispose();
    }
}
