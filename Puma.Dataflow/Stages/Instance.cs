using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>One instance of a stage: the context of its user code and its ticks.</summary>
internal sealed class Instance
{
    public Instance(StageNode stage, int index)
    {
        var ticks = new TickSchedule(stage.Graph.Time, stage.Options.TickInterval, stage.Options.TicksPaused, stage.RaiseControl);
        Context = new StageContext(stage.Name, index, stage.Logger, stage.Graph.Time, ticks, stage.RaiseFinish);
    }

    public StageContext Context { get; }
}
