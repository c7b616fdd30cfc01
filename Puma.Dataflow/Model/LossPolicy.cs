namespace Puma.Dataflow;

/// <summary>What happens when a child process is lost. Immutable and safe for any thread.</summary>
public abstract record LossPolicy
{
    private protected LossPolicy() { }

    /// <summary>The stage faults with <see cref="ChildProcessLostException"/>, and with it the run. This is the default.</summary>
    public static LossPolicy Fault { get; } = new FaultAtLoss();

    /// <summary>A new child takes the place of the lost one.</summary>
    /// <param name="max">How many restarts are made within <paramref name="window"/>; one more loss faults the stage. At least 1; default 5.</param>
    /// <param name="window">The time in which restarts are counted; positive, default one minute.</param>
    /// <param name="backoff">The wait before each restart; default 200 ms, doubling up to 30 s while the losses go on.</param>
    /// <returns>A policy that re-sends the items that the lost child held, each at most twice (<see cref="RestartPolicy.Replay"/>).</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="max"/> is below 1, or <paramref name="window"/> is not positive or too long for a timer.</exception>
    public static RestartPolicy Restart(int max = 5, TimeSpan? window = null, Backoff? backoff = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(max, 1);
        TimeSpan counted = window ?? TimeSpan.FromMinutes(1);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(counted, TimeSpan.Zero, nameof(window));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(counted, TimeLimits.Longest, nameof(window));
        return new RestartPolicy(max, counted, backoff ?? Backoff.Exponential(TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(30)), guiltLimit: 2);
    }

    private sealed record FaultAtLoss : LossPolicy;
}

/// <summary>Restarts lost children.</summary>
/// <remarks>
/// The item that was being handled when the child was lost is guilty of the loss; all others that the child held are sent again, in order.
/// An item that was guilty too often is poison: it goes to the dead-letter target of the stage's error policy, or without one faults the stage.
/// </remarks>
public sealed record RestartPolicy : LossPolicy
{
    internal RestartPolicy(int max, TimeSpan window, Backoff backoff, int guiltLimit) =>
        (MaxRestarts, Window, RestartBackoff, GuiltLimit) = (max, window, backoff, guiltLimit);

    internal int MaxRestarts { get; }

    internal TimeSpan Window { get; }

    internal Backoff RestartBackoff { get; }

    /// <summary>How often an item may be guilty before it is poison.</summary>
    internal int GuiltLimit { get; private init; }

    /// <summary>Sends the guilty item again as well, so that its handler may run more than once.</summary>
    /// <param name="attempts">How often it is tried in all; at least 2, default 2.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="attempts"/> is below 2.</exception>
    public RestartPolicy Replay(int attempts = 2)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(attempts, 2);
        return this with { GuiltLimit = attempts };
    }

    /// <summary>Never sends the guilty item again: it is a dead letter at its first loss. The stage's error policy must have a dead-letter target; <c>Build()</c> checks it.</summary>
    public RestartPolicy DeadLetter() => this with { GuiltLimit = 1 };
}
