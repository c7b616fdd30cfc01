using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>A stage with one instance: one item after another, outputs straight into the next link.</summary>
internal sealed class SerialStage<TIn, TOut, TOutputs> : StageNode, IControlledStage
    where TOutputs : Emitter<TOut>, IAttemptOutputs
{
    /// <summary>After so many items without a wait the thread is offered to others.</summary>
    private const int ItemsPerTurn = 4096;

    private readonly Func<ItemHandler<TIn, TOut>> _makeHandler;
    private readonly Func<StageNode, TOutputs> _makeOutputs;
    private readonly InstanceControl _control;
    private Link<TIn> _input = null!;
    private TOutputs _outputs = null!;
    private StageContext? _context;
    private ItemHandler<TIn, TOut> _handler = null!;
    private AttemptRunner _attempts = null!;

    public SerialStage(StageSetup setup, Func<ItemHandler<TIn, TOut>> makeHandler, Func<StageNode, TOutputs> makeOutputs)
        : base(setup)
    {
        (_makeHandler, _makeOutputs) = (makeHandler, makeOutputs);
        _control = this.MakeControl(this.MakeWatch());
        Instances = [new InstanceTarget(_control)];
    }

    public IReadOnlyList<ControlTarget> Instances { get; }

    protected override async ValueTask StartAsync()
    {
        _control.Lane.Enter();
        _input = (Link<TIn>)Inputs[0];
        _outputs = _makeOutputs(this);
        _handler = _makeHandler();
        StageContext context = this.MakeContext();
        _attempts = new AttemptRunner(this, context);
        await _handler.StartAsync(context, _outputs, DiscardToken).ConfigureAwait(false);
        _context = context;
        _control.Begin(_handler, context, DiscardToken);
    }

    protected override async Task RunAsync()
    {
        if (_handler.HasCommands)
            _control.Lane.Enter();
        long number = 0;
        int turn = 0;
        while (true)
        {
            if (NeedsAttention)
            {
                if (IsDiscarding || IsFinishing)
                    return;
                await RunControlAsync().ConfigureAwait(false);
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

    protected override async ValueTask EndAsync(RunState outcome, Exception? cause)
    {
        if (_context is null)
            return;
        await _control.EndLeasesAsync().ConfigureAwait(false);
        await _handler.EndAsync(outcome, cause).ConfigureAwait(false);
    }

    protected override void CleanUp()
    {
        _attempts?.Dispose();
        _context?.Ticks.End();
        _handler?.Dispose();
    }

    protected override void OnEnding(EndMarker marker) => _control.Lane.Close(marker.ToRefusal());

    private ValueTask RunControlAsync()
    {
        Clear(Attention.Control);
        return _control.CheckpointAsync();
    }
}
