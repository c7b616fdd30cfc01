using Microsoft.Extensions.Logging;

namespace Puma.Dataflow;

/// <summary>What a runnable knows of the stage that it runs in. Belongs to the runnable's own stream, but for the members that say otherwise.</summary>
public sealed class StageContext
{
    private readonly Action _complete;

    internal StageContext(string stageName, int instance, ILogger logger, TimeProvider time, TickSchedule ticks, Action complete)
    {
        StageName = stageName;
        Instance = instance;
        Logger = logger;
        TimeProvider = time;
        Ticks = ticks;
        _complete = complete;
    }

    /// <summary>The name of the stage.</summary>
    public string StageName { get; }

    /// <summary>Which of the stage's instances this is, counted from 0.</summary>
    public int Instance { get; }

    /// <summary>The logger of the stage. Its records have a scope that names the stage and the current item (<c>puma.stage</c>, <c>puma.item</c>). Any thread.</summary>
    public ILogger Logger { get; }

    /// <summary>The clock of the pipeline. Any thread.</summary>
    public TimeProvider TimeProvider { get; }

    /// <summary>The rhythm of this instance's ticks. Any thread.</summary>
    public TickSchedule Ticks { get; }

    /// <summary>The number of the current item at this stage, counted from 1; 0 before the first.</summary>
    public long ItemNumber { get; internal set; }

    /// <summary>The current attempt at the item, counted from 1.</summary>
    public int Attempt { get; internal set; }

    /// <summary>Asks this stage to end early, as completed: no further item is handled, and the stages before it are told that nobody wants more. Any thread.</summary>
    public void Complete() => _complete();
}
