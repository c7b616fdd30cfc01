using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Logging;

namespace Puma.Dataflow.Stages;

/// <summary>Makes what the user code of an instance knows of its stage, its ticks included.</summary>
internal static class StageContexts
{
    public static StageContext MakeContext(this StageNode stage, int index = 0)
    {
        var ticks = new TickSchedule(stage.Graph.Time, stage.Options.TickInterval, stage.Options.TicksPaused, stage.RaiseControl);
        var logger = new StageLogger(stage.Logger);
        return logger.Context = new StageContext(stage.Name, index, logger, stage.Graph.Time, ticks, new LocalStatus(stage.Status, index, stage.Graph.Time), stage.RaiseFinish);
    }
}
