using System.Runtime.CompilerServices;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow;

/// <summary>
/// What the runnables of a stage report (<see cref="StageContext.ReportStatus{T}"/>), and the state of the stage as reports of type
/// <see cref="StageState"/>: the latest, the next, or all that come. Also of a stage that has ended. Safe for any thread.
/// </summary>
/// <remarks>A report is found under the type that it was reported as, not under its base types.</remarks>
public sealed class StageStatus
{
    private const int DefaultCapacity = 128;

    private readonly StageNode _stage;

    internal StageStatus(StageNode stage) => _stage = stage;

    /// <summary>The latest report of a type; null when there was none yet. It stays when a child is restarted and when the stage has ended.</summary>
    /// <typeparam name="T">The type.</typeparam>
    /// <param name="instance">Whose report, counted from 0; null for that of any instance.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="instance"/> is negative.</exception>
    public StatusReport<T>? Latest<T>(int? instance = null)
        where T : notnull
    {
        ArgumentOutOfRangeException.ThrowIfNegative(instance ?? 0, nameof(instance));
        return _stage.Status.Latest<T>(instance);
    }

    /// <summary>The latest report of a type, or the first one to come.</summary>
    /// <typeparam name="T">The type.</typeparam>
    /// <param name="timeout">How long to wait, by the clock of the pipeline; <see cref="Timeout.InfiniteTimeSpan"/> for as long as the stage runs. A report that is there is returned also with zero.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="timeout"/> is negative and not infinite, or too long for a timer.</exception>
    /// <exception cref="TimeoutException">There was none in time.</exception>
    /// <exception cref="StageEndedException">The stage has ended without one.</exception>
    /// <exception cref="OperationCanceledException">The token fired.</exception>
    public Task<StatusReport<T>> WaitAsync<T>(TimeSpan timeout, CancellationToken cancellationToken = default)
        where T : notnull
    {
        CheckTimeout(timeout);
        return _stage.Status.Latest<T>(instance: null) is { } latest ? Task.FromResult(latest) : FindAsync<T>(null, timeout, cancellationToken);
    }

    /// <summary>The first report that fulfils a condition, beginning with the latest of each instance.</summary>
    /// <typeparam name="T">The type.</typeparam>
    /// <param name="condition">Runs on the waiter's side; what it throws ends the wait. While it takes its time, more than 128 reports may come; the oldest of them are not seen then.</param>
    /// <param name="timeout">How long to wait, by the clock of the pipeline; <see cref="Timeout.InfiniteTimeSpan"/> for as long as the stage runs.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="ArgumentNullException"><paramref name="condition"/> is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="timeout"/> is negative and not infinite, or too long for a timer.</exception>
    /// <exception cref="TimeoutException">There was none in time.</exception>
    /// <exception cref="StageEndedException">The stage has ended without one.</exception>
    /// <exception cref="OperationCanceledException">The token fired.</exception>
    public Task<StatusReport<T>> WaitAsync<T>(Func<T, bool> condition, TimeSpan timeout, CancellationToken cancellationToken = default)
        where T : notnull
    {
        ArgumentNullException.ThrowIfNull(condition);
        CheckTimeout(timeout);
        return FindAsync(condition, timeout, cancellationToken);
    }

    /// <summary>
    /// Reads the reports of a type from when the enumeration begins: first the latest of each instance, then all that come, until the
    /// stage has ended. Of the states of the stage it begins with the last 64 changes, so usually with the first.
    /// </summary>
    /// <typeparam name="T">The type.</typeparam>
    /// <param name="capacity">How many reports wait for a slow reader, at least 1, beside those that it begins with. When one more comes the oldest is dropped, which <see cref="StatusReport{T}.Dropped"/> of the next one counts; so the newest, and with it the last state of a stage, is never lost.</param>
    /// <param name="cancellationToken">Ends the enumeration, with <see cref="OperationCanceledException"/>.</param>
    /// <returns>The reports. How the stage has ended ends the enumeration, but is never thrown by it.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="capacity"/> is less than 1.</exception>
    public IAsyncEnumerable<StatusReport<T>> ReadAllAsync<T>(int capacity = DefaultCapacity, CancellationToken cancellationToken = default)
        where T : notnull
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        return ReadAsync<T>(capacity, cancellationToken);
    }

    private async IAsyncEnumerable<StatusReport<T>> ReadAsync<T>(int capacity, [EnumeratorCancellation] CancellationToken cancellationToken)
        where T : notnull
    {
        using StatusReader<T> reader = _stage.Status.Read<T>(capacity, withChanges: true);
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false) is { } report)
            yield return report;
    }

    private async Task<StatusReport<T>> FindAsync<T>(Func<T, bool>? condition, TimeSpan timeout, CancellationToken cancellationToken)
        where T : notnull
    {
        using var timer = new CancellationTokenSource(timeout, _stage.Graph.Time);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        using StatusReader<T> reader = _stage.Status.Read<T>(DefaultCapacity, withChanges: false);
        string what = $"a status of type {typeof(T).Name}{(condition is null ? "" : " that fulfils the condition")}";
        try
        {
            // What is there is looked at in any case.
            for (int kept = reader.Unread; await reader.ReadAsync(kept-- > 0 ? default : ending.Token).ConfigureAwait(false) is { } report;)
            {
                if (condition?.Invoke(report.Value) != false)
                    return report with { Dropped = 0 };
            }
        }
        catch (OperationCanceledException stopped) when (stopped.CancellationToken == ending.Token)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new TimeoutException($"Stage '{_stage.Name}' did not report {what} within {timeout}. It is {_stage.State}.");
        }

        throw new StageEndedException(_stage.Name, _stage.State, what, _stage.Cause);
    }

    private static void CheckTimeout(TimeSpan timeout)
    {
        if (timeout == Timeout.InfiniteTimeSpan)
            return;
        ArgumentOutOfRangeException.ThrowIfLessThan(timeout, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(timeout, TimeLimits.Longest);
    }
}
