namespace Puma.Dataflow;

/// <summary>The ticks of a runnable, for its owner. Every runnable serves it: <see cref="StageHandle.Ticks"/>. Safe for any thread.</summary>
/// <remarks>Its members are called, and fail, like those of any control interface: see <see cref="PipelineRun.Control{TControl}"/>. In a pool they go to each instance.</remarks>
public interface ITickControl
{
    /// <summary>Sets the time between two ticks. A change counts from the last tick on; when that time is over, the next one is due at once.</summary>
    /// <param name="interval">The time; positive, at most 49 days; null for no ticks.</param>
    /// <param name="cancellationToken">Gives up the call.</param>
    /// <exception cref="ArgumentOutOfRangeException">The interval is zero, negative or too long.</exception>
    ValueTask SetIntervalAsync(TimeSpan? interval, CancellationToken cancellationToken = default);

    /// <summary>Stops the ticks. Does nothing when they are paused.</summary>
    /// <param name="cancellationToken">Gives up the call.</param>
    ValueTask PauseAsync(CancellationToken cancellationToken = default);

    /// <summary>Starts the ticks again; the next one comes after a full interval. Does nothing when they run.</summary>
    /// <param name="cancellationToken">Gives up the call.</param>
    ValueTask ResumeAsync(CancellationToken cancellationToken = default);
}
