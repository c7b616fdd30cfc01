using Puma.Dataflow.Buffers;
using Puma.Dataflow.Control;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Logging;

namespace Puma.Dataflow.Stages;

/// <summary>A stage whose instances can be called.</summary>
internal interface IControlledStage
{
    /// <summary>What is called, by instance.</summary>
    IReadOnlyList<ControlTarget> Instances { get; }
}

/// <summary>Makes what the user code of an instance knows of its stage, its ticks included, and what callers reach of it.</summary>
internal static class StageContexts
{
    public static InstanceControl MakeControl(this StageNode stage, CallWatch watch, int index = 0) =>
        new(stage.Name, index, stage.Graph.Logger, watch, stage.RaiseControl);

    public static CallWatch MakeWatch(this StageNode stage) => new(stage.Name, stage.Graph.Logger, stage.Graph.Options);

    /// <summary>Why a stage that ends like this takes no more commands.</summary>
    public static CommandRefusal ToRefusal(this EndMarker marker) => new(
        CommandFailure.StageEnded,
        marker.Kind switch
        {
            EndKind.Faulted => $"the stage has failed. {marker.Cause?.Message}",
            EndKind.Canceled => "the stage was cancelled.",
            _ => "the stage has completed.",
        },
        marker.Cause);

    public static StageContext MakeContext(this StageNode stage, int index = 0)
    {
        var ticks = new TickSchedule(stage.Graph.Time, stage.Options.TickInterval, stage.Options.TicksPaused, stage.RaiseControl);
        var logger = new StageLogger(stage.Logger);
        return logger.Context = new StageContext(stage.Name, index, logger, stage.Graph.Time, ticks, new LocalStatus(stage.Status, index, stage.Graph.Time), stage.RaiseFinish);
    }
}
