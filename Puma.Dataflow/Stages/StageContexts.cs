using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>Makes what the user code of an instance knows of its stage, its ticks included.</summary>
internal static class StageContexts
{
    public static StageContext MakeContext(this StageNode stage, int index = 0)
    {
        var ticks = new TickSchedule(stage.Graph.Time, stage.Options.TickInterval, stage.Options.TicksPaused, stage.RaiseControl);
        return new StageContext(stage.Name, index, stage.Logger, stage.Graph.Time, ticks, stage.RaiseFinish);
    }
}
