using System.Runtime.CompilerServices;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>A stage with one instance: one item after another, outputs straight into the next link.</summary>
internal sealed class SerialStage<TIn, TOut, TOutputs>(StageSetup setup, Func<ItemHandler<TIn, TOut>> makeHandler, Func<StageNode, TOutputs> makeOutputs) : SingleInstanceStage(setup)
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
                    if (!IsDiscarding && !IsFinishing)
                        await CheckpointAsync().ConfigureAwait(false);
                    if (IsDiscarding || IsFinishing)
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

            if (!handling.IsCompleted)
                FlushInputs();
            await this.SettleAsync(_input, item, _number, await handling.ConfigureAwait(false)).ConfigureAwait(false);
        }

        await _handler.CompletedAsync(DiscardToken).ConfigureAwait(false);
    }

    /// <summary>Handles what is there, as long as each item is delivered at once.</summary>
    /// <param name="last">The number of the last item.</param>
    /// <param name="item">The item that takes longer, or has another fate.</param>
    /// <param name="handling">How it goes on.</param>
    /// <returns>Whether there is such an item; otherwise nothing is there, or the stage was told something.</returns>
    private bool HandleBurst(long last, out TIn item, out ValueTask<Fate> handling)
    {
        handling = default;
        if (_transform is not null)
            return TransformBurst(_transform, last, out item, out handling);
        if (_fastInput is not null)
            return DeliverBurst(_fastInput, last, out item, out handling);
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

    /// <summary>The same for items that have one attempt and come over a fast link.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)] // A loop of its own, not a part of the asynchronous one: its locals stay in registers.
    private bool DeliverBurst(BurstLink<TIn> input, long last, out TIn item, out ValueTask<Fate> handling)
    {
        ItemHandler<TIn, TOut> handler = _handler;
        TOutputs outputs = _outputs;
        StageContext context = _attempts.BeginSimple();
        CancellationToken token = DiscardToken;
        do
        {
            if (!input.TryRead(out TIn current))
                break;
            context.ItemNumber = ++_number;
            ValueTask now;
            bool isDelivered;
            try
            {
                // The task may be one of user code, and fail when it is looked at.
#pragma warning disable CA2012, VSTHRD002 // On each path it is consumed once; here it has completed.
                now = handler.HandleAsync(current, outputs, token);
                isDelivered = now.IsCompletedSuccessfully && !outputs.WasRefused;
                if (isDelivered)
                    now.GetAwaiter().GetResult();
#pragma warning restore CA2012, VSTHRD002
            }
            catch (Exception error)
            {
                item = current;
                handling = _attempts.FailedAsync(error, outputs, token);
                return true;
            }

            if (!isDelivered)
            {
                item = current;
                handling = _attempts.AwaitAsync(now, outputs, token);
                return true;
            }

            Counters.CountDelivered();
            input.Release(1);
        }
        while (_number < last && !NeedsAttention);
        (item, handling) = (default!, default);
        return false;
    }

    /// <summary>The same for the most common stage: a delegate that returns one output for each item, between two fast links.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)] // A loop of its own, not a part of the asynchronous one: its locals stay in registers.
    private bool TransformBurst(Func<TIn, CancellationToken, TOut> transform, long last, out TIn item, out ValueTask<Fate> handling)
    {
        BurstLink<TIn> input = _fastInput!;
        BurstLink<TOut> output = _fastOutput!;
        StageContext context = _attempts.BeginSimple();
        CancellationToken token = DiscardToken;
        Turn? turn = Turn.Here;
        do
        {
            if (!input.TryRead(out TIn current))
                break;
            context.ItemNumber = ++_number;
            TOut value;
            try
            {
                value = transform(current, token);
            }
            catch (Exception error)
            {
                item = current;
                handling = _attempts.FailedAsync(error, _outputs, token);
                return true;
            }

            if (NeedsAttention || !output.TryWrite(value, turn))
            {
                item = current;
                handling = PassOnAsync(value);
                return true;
            }

            Counters.CountDelivered();
            input.Release(1);
        }
        while (_number < last && !NeedsAttention);
        (item, handling) = (default!, default);
        return false;
    }

    [MethodImpl(MethodImplOptions.NoInlining)] // rare, and the frequent path is short without it
    private ValueTask<Fate> PassOnAsync(TOut value) => _attempts.AwaitAsync(_outputs.PassAsync(value, DiscardToken), _outputs, DiscardToken);

    protected override ValueTask EndInstanceAsync(RunState outcome, Exception? cause) => _handler.EndAsync(outcome, cause);

    protected override void CleanUp()
    {
        base.CleanUp();
        _attempts?.Dispose();
        _handler?.Dispose();
    }
}
