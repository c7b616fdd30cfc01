using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>A stage without items: it lives until it is asked to end, serves commands and ticks.</summary>
internal sealed class CommandStage(StageSetup setup, Func<CommandRunnable> makeRunnable) : SingleInstanceStage(setup)
{
    private CommandRunnable _runnable = null!;
    private OwnThread? _thread;

    public override bool IsSource => true;

    protected override async ValueTask<IControlledCode> StartInstanceAsync(StageContext context)
    {
        if (Options.OwnThread)
            _thread = new OwnThread(Name);
        await CallAsync(() =>
        {
            _runnable = makeRunnable();
            return _runnable.StartAsync(context, DiscardToken);
        }).ConfigureAwait(false);
        return new RunnableCode(_runnable, CallAsync);
    }

    protected override async Task RunAsync()
    {
        EnterLane();
        while (!IsStopping)
        {
            if (Has(Attention.Control))
            {
                await CheckpointAsync().ConfigureAwait(false);
                continue;
            }

            await WaitAsync(StageActivity.WaitingForInput).ConfigureAwait(false);
            BeginWork();
        }

        if (!IsDiscarding)
            await CallAsync(() => _runnable.CompletedAsync(DiscardToken)).ConfigureAwait(false);
    }

    protected override ValueTask EndInstanceAsync(RunState outcome, Exception? cause) => CallAsync(() => _runnable.EndAsync(outcome, cause));

    protected override void CleanUp()
    {
        base.CleanUp();
        _thread?.Dispose();
    }

    private ValueTask CallAsync(Func<ValueTask> callback) => _thread?.InvokeAsync(callback) ?? callback();
}
