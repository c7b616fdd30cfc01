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

    private Link<TIn> _input = null!;
    private TOutputs _outputs = null!;
    private ItemHandler<TIn, TOut> _handler = null!;
    private AttemptRunner _attempts = null!;

    protected override async ValueTask<IControlledCode> StartInstanceAsync(StageContext context)
    {
        _input = (Link<TIn>)Inputs[0];
        _outputs = makeOutputs(this);
        _handler = makeHandler();
        _attempts = new AttemptRunner(this, context);
        await _handler.StartAsync(context, _outputs, DiscardToken).ConfigureAwait(false);
        return _handler;
    }

    protected override async Task RunAsync()
    {
        if (_handler.HasCommands)
            EnterLane();
        long number = 0;
        int turn = 0;
        while (true)
        {
            if (NeedsAttention)
            {
                if (IsDiscarding || IsFinishing)
                    return;
                await CheckpointAsync().ConfigureAwait(false);
            }

            if (!_input.TryRead(out TIn item))
            {
                if (_input.End is not null)
                    break;
                await WaitAsync(StageActivity.WaitingForInput).ConfigureAwait(false);
                BeginWork();
                turn = 0;
                continue;
            }

            _input.CountReceived();
            ValueTask<Fate> handling = _attempts.HandleAsync<TIn, TOut, TOutputs>(_handler, item, ++number, _outputs, DiscardToken);
            if (!handling.IsCompleted)
                FlushInputs();
            Fate fate = await handling.ConfigureAwait(false);
            if (fate.Kind == FateKind.Delivered)
            {
                Counters.CountDelivered();
                _input.Release(1);
            }
            else
            {
                await this.SettleAsync(_input, item, number, fate).ConfigureAwait(false);
            }

            if (++turn >= ItemsPerTurn)
            {
                turn = 0;
                await Task.Yield();
            }
        }

        await _handler.CompletedAsync(DiscardToken).ConfigureAwait(false);
    }

    protected override ValueTask EndInstanceAsync(RunState outcome, Exception? cause) => _handler.EndAsync(outcome, cause);

    protected override void CleanUp()
    {
        base.CleanUp();
        _attempts?.Dispose();
        _handler?.Dispose();
    }
}
