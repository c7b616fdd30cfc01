using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>A stage without inputs: a body that emits until it returns or is asked to end.</summary>
internal sealed class SourceStage<TOut>(StageSetup setup, Func<SourceBody<TOut>> makeBody) : StageNode(setup)
{
    private SourceBody<TOut>? _body;
    private StageContext? _context;
    private SourceEmitter _emitter = null!;

    public override bool IsSource => true;

    protected override async ValueTask StartAsync()
    {
        SourceBody<TOut> body = makeBody();
        StageContext context = this.MakeContext();
        _emitter = new SourceEmitter(this, (Link<TOut>)Outputs[0]);
        await body.StartAsync(context, _emitter, DiscardToken).ConfigureAwait(false);
        (_body, _context) = (body, context);
        context.Ticks.Start();
    }

    protected override async Task RunAsync()
    {
        // Nothing is read before every stage runs: a start-up failure then loses nothing.
        await WaitForStartAsync().ConfigureAwait(false);
        if (IsStopping)
            return;
        try
        {
            await _body!.ProduceAsync(_emitter, StopToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (IsStopping)
        {
            // The body ended because it was asked to.
        }

        if (!IsDiscarding)
            await _body!.CompletedAsync(DiscardToken).ConfigureAwait(false);
    }

    protected override ValueTask EndAsync(RunState outcome, Exception? cause) => _body?.EndAsync(outcome, cause) ?? default;

    protected override void CleanUp()
    {
        _context?.Ticks.End();
        _body?.Dispose();
    }

    private ValueTask CheckpointAsync()
    {
        if (!Has(Attention.Control))
            return default;
        Clear(Attention.Control);
        return _context!.Ticks.TryTake() ? _body!.TickAsync(DiscardToken) : default;
    }

    /// <summary>Emits, and lets ticks in at each emit and while it waits.</summary>
    private sealed class SourceEmitter(SourceStage<TOut> source, Link<TOut> link) : LinkEmitter<TOut>(source, link)
    {
        private bool _isInTick;

        public override ValueTask EmitAsync(TOut value, CancellationToken cancellationToken) =>
            source.Has(Attention.Control) && !_isInTick ? TickThenEmitAsync(value, cancellationToken) : base.EmitAsync(value, cancellationToken);

        protected override async ValueTask CheckpointAsync()
        {
            // A tick may emit; that emit must not run the next tick inside of this one.
            if (_isInTick)
                return;
            _isInTick = true;
            try
            {
                await source.CheckpointAsync().ConfigureAwait(false);
            }
            finally
            {
                _isInTick = false;
            }
        }

        private async ValueTask TickThenEmitAsync(TOut value, CancellationToken cancellationToken)
        {
            await CheckpointAsync().ConfigureAwait(false);
            await base.EmitAsync(value, cancellationToken).ConfigureAwait(false);
        }
    }
}
