using System.Runtime.CompilerServices;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>A stage without inputs: a body that emits until it returns or is asked to end.</summary>
internal sealed class SourceStage<TOut>(StageSetup setup, Func<SourceBody<TOut>> makeBody) : SingleInstanceStage(setup)
{
    private SourceBody<TOut> _body = null!;
    private SourceEmitter _emitter = null!;

    public override bool IsSource => true;

    protected override async ValueTask<IControlledCode> StartInstanceAsync(StageContext context)
    {
        _emitter = new SourceEmitter(this, (Link<TOut>)Outputs[0]);
        _body = makeBody();
        await _body.StartAsync(context, _emitter, DiscardToken).ConfigureAwait(false);
        return _body;
    }

    protected override async Task RunAsync()
    {
        EnterLane();

        // Nothing is read before every stage runs: a start-up failure then loses nothing.
        SetActivity(StageActivity.Starting);
        await WaitForStartAsync().ConfigureAwait(false);
        BeginWork();
        await YieldAsync().ConfigureAwait(false);
        if (IsStopping)
            return;
        try
        {
            await _body.ProduceAsync(_emitter, StopToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (IsStopping)
        {
            // The body ended because it was asked to.
        }

        await _emitter.EmitsReturnedAsync().ConfigureAwait(false);
        if (!IsDiscarding)
            await _body.CompletedAsync(DiscardToken).ConfigureAwait(false);
    }

    protected override ValueTask ReturnAllAsync() => _emitter?.EmitsReturnedAsync() ?? default;

    protected override ValueTask EndInstanceAsync(RunState outcome, Exception? cause) => _body.EndAsync(outcome, cause);

    protected override void CleanUp()
    {
        base.CleanUp();
        _body?.Dispose();
    }

    /// <summary>Emits, and lets commands and ticks in at each emit and while it waits.</summary>
    private sealed class SourceEmitter(SourceStage<TOut> source, Link<TOut> link) : LinkEmitter<TOut>(source, link), IBodyStream
    {
        private readonly BurstLink<TOut>? _fastLink = link as BurstLink<TOut>;

        // 1 while a command or a tick runs, which an emit beside the body may want to begin as well.
        private int _inCheckpoint;

        public override ValueTask EmitAsync(TOut value, CancellationToken cancellationToken) =>
            NeedsCheckpoint ? CheckpointThenEmitAsync(value, cancellationToken) : base.EmitAsync(value, cancellationToken);

        public override bool PassOn(IEnumerator<TOut> items, out TOut late)
        {
            if (_fastLink is null)
                return base.PassOn(items, out late);

            // Looked up once: this method stays on its thread.
            Turn? turn = Turn.Here;
            while (true)
            {
                BurstLink<TOut>.Writes to = _fastLink.BeginWrites(long.MaxValue, turn);
                if (to.Count == 0)
                    return base.PassOn(items, out late);
                if (Fill(to, items, out late) is { } isLate)
                    return isLate;
            }
        }

        /// <returns>Whether a value is late, as <see cref="PassOn"/> says it; null when all places are filled.</returns>
        [MethodImpl(MethodImplOptions.NoInlining)] // A loop of its own: its locals stay in registers.
        private bool? Fill(BurstLink<TOut>.Writes to, IEnumerator<TOut> items, out TOut late)
        {
            SourceStage<TOut> stage = source;
            for (int i = 0; i < to.Count; i++)
            {
                if (!items.MoveNext())
                {
                    late = default!;
                    return false;
                }

                TOut item = items.Current;
                if (stage.NeedsAttention || !to.TryPut(i, item))
                {
                    late = item;
                    return true;
                }
            }

            late = default!;
            return null;
        }

        public override ValueTask PassAsync(TOut value, CancellationToken cancellationToken) =>
            NeedsCheckpoint ? CheckpointThenEmitAsync(value, cancellationToken) : base.PassAsync(value, cancellationToken);

        protected override async ValueTask CheckpointAsync()
        {
            // What runs there may emit; that emit must not run the next command or tick inside of this one.
            if (Interlocked.Exchange(ref _inCheckpoint, 1) != 0)
                return;
            try
            {
                await source.CheckpointAsync().ConfigureAwait(false);
            }
            finally
            {
                Volatile.Write(ref _inCheckpoint, 0);
            }
        }

        public override IBodyStream Body => this;

        public CancellationToken StopToken => source.StopToken;

        public bool IsInCheckpoint => Volatile.Read(ref _inCheckpoint) != 0;

        public override bool NeedsCheckpoint => source.Has(Attention.Control) && !IsInCheckpoint;

        ValueTask IBodyStream.CheckpointAsync() => CheckpointAsync();

        async ValueTask IBodyStream.WaitAsync()
        {
            await source.WaitAsync(StageActivity.WaitingForInput).ConfigureAwait(false);
            source.BeginWork();
        }

        public void Wake() => source.Wake();

        private async ValueTask CheckpointThenEmitAsync(TOut value, CancellationToken cancellationToken)
        {
            UnderWay.Begin();
            try
            {
                await CheckpointAsync().ConfigureAwait(false);
                await base.EmitAsync(value, cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                UnderWay.End();
            }
        }
    }
}
