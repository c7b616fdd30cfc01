using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Blocks;

/// <summary>Takes items from a foreign source block until it has completed, or is to be read no further.</summary>
internal sealed class ForeignSourceStage<T>(StageSetup setup, ISourceBlock<T> source) : StageNode(setup)
{
    private EntryBlock<T> _entry = null!;

    public override bool IsSource => true;

    public override void Prepare() => _entry = new EntryBlock<T>(this, (Link<T>)Outputs[0]);

    public override void Wake()
    {
        base.Wake();
        _entry?.ServeWaiters();
    }

    protected override void OnStop() => _entry.Close();

    protected override async Task RunAsync()
    {
        await WaitForStartAsync().ConfigureAwait(false);
        if (IsStopping)
            return;
        using IDisposable unlink = source.LinkTo(_entry);
        Task completion = source.Completion;
        Graph.Own(WakeAtEndAsync(completion));
        while (!IsStopping && !completion.IsCompleted)
            await WaitAsync(StageActivity.WaitingForForeignCode).ConfigureAwait(false);
        _entry.Close();
        while (!_entry.IsAtRest)
            await WaitAsync(StageActivity.WaitingForForeignCode).ConfigureAwait(false);
        if (completion.IsFaulted)
            this.FailWith(completion.Exception!, told: null);
        else if (completion.IsCanceled)
            Fail(new TaskCanceledException($"The foreign source behind '{Name}' was cancelled."));
    }
}
