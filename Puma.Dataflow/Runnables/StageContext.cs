using Microsoft.Extensions.Logging;
using Puma.Dataflow.Control;

namespace Puma.Dataflow;

/// <summary>What a runnable knows of the stage that it runs in. Belongs to the runnable's own stream, but for the members that say otherwise.</summary>
public sealed class StageContext
{
    private readonly Action _complete;
    private readonly IStatusSink _status;

    internal StageContext(string stageName, int instance, ILogger logger, TimeProvider time, TickSchedule ticks, IStatusSink status, Action complete)
    {
        StageName = stageName;
        Instance = instance;
        Logger = logger;
        TimeProvider = time;
        Ticks = ticks;
        _status = status;
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

    /// <summary>Reports a status to the owner of the run, who finds it in <see cref="StageHandle.Status"/>: always the latest of a type, and those before it as far as he reads on. Never waits. Any thread.</summary>
    /// <typeparam name="T">The type under which the owner looks for it, <see cref="StageState"/> excepted.</typeparam>
    /// <param name="value">The value; it must not change any more. From a child it is carried as an item is, with at most 256 KiB.</param>
    /// <remarks>What is reported before an output, the end of an item or the end of the stage is there when the owner sees that. After the end of the stage nothing happens.</remarks>
    /// <exception cref="ArgumentNullException"><paramref name="value"/> is null.</exception>
    /// <exception cref="ArgumentException">The type is <see cref="StageState"/>, which the stage reports itself.</exception>
    /// <exception cref="ItemCodecException">The value cannot be carried to the owner's process: the message names its member, or its size.</exception>
    /// <exception cref="InvalidOperationException">From a child: the instance has reported values of 1024 other types.</exception>
    public void ReportStatus<T>(T value)
        where T : notnull
    {
        ArgumentNullException.ThrowIfNull(value);
        if (typeof(T) == typeof(StageState))
            throw new ArgumentException($"A {nameof(StageState)} is reported by the stage itself. Report a type of your own.", nameof(value));
        _status.Report(value);
    }
}
