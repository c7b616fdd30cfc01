using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Runnables;

namespace Puma.Dataflow.Stages;

/// <summary>A stage with one instance of user code, on the stage's own stream: commands and ticks get in from the instance's start to its end.</summary>
internal abstract class SingleInstanceStage : StageNode, IControlledStage
{
    private readonly InstanceControl _control;

    // The stream's. Null unless the instance has started; one that has not is not ended.
    private StageContext? _context;

    protected SingleInstanceStage(StageSetup setup)
        : base(setup)
    {
        _control = this.MakeControl(this.MakeWatch());
        Instances = [new InstanceTarget(_control)];
    }

    public IReadOnlyList<ControlTarget> Instances { get; }

    protected sealed override async ValueTask StartAsync()
    {
        EnterLane();
        StageContext context = this.MakeContext();
        IControlledCode code = await StartInstanceAsync(context).ConfigureAwait(false);
        _context = context;
        _control.Begin(code, context, DiscardToken);
    }

    /// <summary>Makes the instance and starts it.</summary>
    protected abstract ValueTask<IControlledCode> StartInstanceAsync(StageContext context);

    /// <summary>Marks the caller's flow as the instance's user code: what that calls on its own stage runs at once.</summary>
    protected void EnterLane() => _control.Lane.Enter();

    /// <summary>Runs the commands that wait and the tick that is due, if there are any.</summary>
    protected ValueTask CheckpointAsync()
    {
        if (!Has(Attention.Control))
            return default;
        Clear(Attention.Control);
        return AwaitBetweenItemsAsync(_control.CheckpointAsync());
    }

    /// <summary>Waits for user code that has no item. The writers may need the slots of those that are done meanwhile.</summary>
    protected ValueTask AwaitBetweenItemsAsync(ValueTask code)
    {
        if (!code.IsCompleted)
            FlushInputs();
        return code.OnOwnStackAsync();
    }

    protected sealed override void OnEnding(EndMarker marker) => _control.Lane.Close(marker.ToRefusal());

    protected sealed override async ValueTask EndAsync(RunState outcome, Exception? cause)
    {
        if (_context is null)
            return;
        await _control.EndLeasesAsync().ConfigureAwait(false);
        await EndInstanceAsync(outcome, cause).ConfigureAwait(false);
    }

    /// <summary>Ends the instance, which was started.</summary>
    protected abstract ValueTask EndInstanceAsync(RunState outcome, Exception? cause);

    protected override void CleanUp() => _context?.Ticks.End();
}
