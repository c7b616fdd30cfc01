using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Blocks;

/// <summary>The stage that callers send items to.</summary>
internal sealed class EntryStage<T>(StageSetup setup) : StageNode(setup)
{
    private readonly Lock _gate = new();

    // Guarded by _gate.
    private int _leases;

    public override bool IsSource => true;

    public EntryBlock<T> Block { get; private set; } = null!;

    public override void Prepare() => Block = new EntryBlock<T>(this, (Link<T>)Outputs[0], Options.SendTimeout);

    public override void Wake()
    {
        base.Wake();
        Block?.ServeWaiters();
    }

    /// <summary>One more sender.</summary>
    public void OpenLease()
    {
        lock (_gate)
            _leases++;
    }

    /// <summary>One sender fewer; by option the last one completes the entry.</summary>
    public void CloseLease()
    {
        bool isLast;
        lock (_gate)
            isLast = --_leases == 0;
        if (isLast && Options.CompleteWithLastSender)
            RaiseStop();
    }

    protected override void OnStop() => Block.Close();

    protected override async Task RunAsync()
    {
        while (!IsStopping)
            await WaitAsync(StageActivity.WaitingForForeignCode).ConfigureAwait(false);
    }

    /// <summary>Waits until no sender is on its way in any more; also when the run ended before this stage had started, for senders do not wait for that.</summary>
    protected override async ValueTask ReturnAllAsync()
    {
        while (!Block.IsAtRest)
            await WaitAsync(StageActivity.WaitingForForeignCode).ConfigureAwait(false);
    }
}
