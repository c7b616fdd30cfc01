using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>A stage without items: it lives until it is asked to end, serves commands and ticks.</summary>
internal sealed class CommandStage : StageNode, IControlledStage
{
    private readonly Func<CommandRunnable> _makeRunnable;
    private readonly InstanceControl _control;
    private CommandRunnable? _runnable;
    private StageContext? _context;
    private OwnThread? _thread;

    public CommandStage(StageSetup setup, Func<CommandRunnable> makeRunnable)
        : base(setup)
    {
        _makeRunnable = makeRunnable;
        _control = this.MakeControl(this.MakeWatch());
        Instances = [new InstanceTarget(_control)];
    }

    public IReadOnlyList<ControlTarget> Instances { get; }

    public override bool IsSource => true;

    protected override async ValueTask StartAsync()
    {
        _control.Lane.Enter();
        if (Options.OwnThread)
            _thread = new OwnThread(Name);
        StageContext context = this.MakeContext();
        CommandRunnable? runnable = null;
        await CallAsync(() =>
        {
            runnable = _makeRunnable();
            return runnable.StartAsync(context, DiscardToken);
        }).ConfigureAwait(false);
        (_runnable, _context) = (runnable, context);
        _control.Begin(new RunnableCode(runnable!, CallAsync), context, DiscardToken);
    }

    protected override async Task RunAsync()
    {
        _control.Lane.Enter();
        while (!IsStopping)
        {
            if (Has(Attention.Control))
            {
                Clear(Attention.Control);
                await _control.CheckpointAsync().ConfigureAwait(false);
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
        if (_runnable is null)
            return;
        await _control.EndLeasesAsync().ConfigureAwait(false);
        await CallAsync(() => _runnable.EndAsync(outcome, cause)).ConfigureAwait(false);
    }

    protected override void OnEnding(EndMarker marker) => _control.Lane.Close(marker.ToRefusal());

    protected override void CleanUp()
    {
        _context?.Ticks.End();
        _thread?.Dispose();
    }

    private ValueTask CallAsync(Func<ValueTask> callback) => _thread?.InvokeAsync(callback) ?? callback();
}
