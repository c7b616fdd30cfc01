namespace Puma.Dataflow;

/// <summary>
/// What several inputs of a <see cref="PortRunnable"/> have in common: it runs once, after the last of them has ended and its last item
/// was handled, however each of them has ended. Make it in the constructor of the runnable, whose own it is.
/// </summary>
/// <param name="onCompleted">Runs once; may still emit.</param>
/// <remarks>With <see cref="FanIn.Any"/> the stage ends with its first input; then this runs only if the others have ended as well.</remarks>
public sealed class SharedCompletion(Func<CancellationToken, ValueTask> onCompleted)
{
    private readonly Func<CancellationToken, ValueTask> _onCompleted = onCompleted ?? throw new ArgumentNullException(nameof(onCompleted));

    // How many of its inputs have not ended. The constructor of the runnable, then its stream.
    private int _open;

    internal void Join() => _open++;

    /// <returns>What is to run, if this was the last input.</returns>
    internal Func<CancellationToken, ValueTask>? Leave() => --_open == 0 ? _onCompleted : null;
}
