using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>A stage without items: it lives until it is asked to end, and ticks.</summary>
internal sealed class CommandStage(StageSetup setup, Func<CommandRunnable> makeRunnable) : StageNode(setup)
{
    private CommandRunnable? _runnable;
    private StageContext? _context;
    private OwnThread? _thread;

    public override bool IsSource => true;

    protected override async ValueTask StartAsync()
    {
        if (Options.OwnThread)
            _thread = new OwnThread(Name);
        StageContext context = this.MakeContext();
        CommandRunnable? runnable = null;
        await CallAsync(() =>
        {
            runnable = makeRunnable();
            return runnable.StartAsync(context, DiscardToken);
        }).ConfigureAwait(false);
        (_runnable, _context) = (runnable, context);
        context.Ticks.Start();
    }

    protected override async Task RunAsync()
    {
        while (!IsStopping)
        {
            if (Has(Attention.Control))
            {
                Clear(Attention.Control);
                if (_context!.Ticks.TryTake())
                    await CallAsync(() => _runnable!.TickAsync(DiscardToken)).ConfigureAwait(false);
                continue;
            }

            await WaitAsync(StageActivity.WaitingForInput).ConfigureAwait(false);
            BeginWork();
        }

        if (!IsDiscarding)
            await CallAsync(() => _runnable!.CompletedAsync(DiscardToken)).ConfigureAwait(false);
    }

    protected override async ValueTask EndAsync(RunState outcome, Exception? cause)
    {
        if (_runnable is not null)
            await CallAsync(() => _runnable.EndAsync(outcome, cause)).ConfigureAwait(false);
    }

    protected override void CleanUp()
    {
        _context?.Ticks.End();
        _thread?.Dispose();
    }

    private ValueTask CallAsync(Func<ValueTask> callback) => _thread?.InvokeAsync(callback) ?? callback();
}
