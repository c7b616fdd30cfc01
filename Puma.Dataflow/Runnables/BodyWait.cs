namespace Puma.Dataflow.Runnables;

/// <summary>The stream of a body, as its waits see it. The stream only, but for <see cref="Wake"/>.</summary>
internal interface IBodyStream
{
    /// <summary>Fires when the body is to stop.</summary>
    CancellationToken StopToken { get; }

    /// <summary>Whether a command or a tick runs now: what waits there is not the body.</summary>
    bool IsInCheckpoint { get; }

    /// <summary>Whether commands or a tick wait.</summary>
    bool NeedsCheckpoint { get; }

    ValueTask CheckpointAsync();

    /// <summary>Waits until something may have changed.</summary>
    ValueTask WaitAsync();

    void Wake();
}

/// <summary>How a body waits: with its commands and ticks let in.</summary>
internal static class BodyWait
{
    /// <summary>Waits for a time. In a command or a tick nothing else runs meanwhile, as in any other wait there.</summary>
    public static async ValueTask ForAsync(IBodyStream stream, TimeProvider time, TimeSpan limit, CancellationToken cancellationToken)
    {
        if (stream.IsInCheckpoint)
        {
            await Task.Delay(limit, time, cancellationToken).ConfigureAwait(false);
            return;
        }

        cancellationToken.ThrowIfCancellationRequested();
        stream.StopToken.ThrowIfCancellationRequested();
        long begin = time.GetTimestamp();
        await using ITimer timer = time.CreateTimer(static state => ((IBodyStream)state!).Wake(), stream, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        using CancellationTokenRegistration wake = cancellationToken.UnsafeRegister(static state => ((IBodyStream)state!).Wake(), stream);
        while (time.GetElapsedTime(begin) < limit)
        {
            // Armed again each time: a timer may fire a little early.
            timer.Change(limit - time.GetElapsedTime(begin) is var left && left > TimeSpan.Zero ? left : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
            await TurnAsync(stream, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Waits until a command or a tick has run.</summary>
    /// <exception cref="InvalidOperationException">It is a command or a tick that waits.</exception>
    public static async ValueTask ForControlAsync(IBodyStream stream, CancellationToken cancellationToken)
    {
        if (stream.IsInCheckpoint)
            throw new InvalidOperationException("Only the body of a source waits for commands and ticks; this is one of them, and the next runs when it has returned.");
        using CancellationTokenRegistration wake = cancellationToken.UnsafeRegister(static state => ((IBodyStream)state!).Wake(), stream);
        while (!await TurnAsync(stream, cancellationToken).ConfigureAwait(false))
        {
        }
    }

    /// <returns>Whether commands or a tick have run.</returns>
    private static async ValueTask<bool> TurnAsync(IBodyStream stream, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        stream.StopToken.ThrowIfCancellationRequested();
        if (stream.NeedsCheckpoint)
        {
            await stream.CheckpointAsync().ConfigureAwait(false);
            return true;
        }

        await stream.WaitAsync().ConfigureAwait(false);
        return false;
    }
}
