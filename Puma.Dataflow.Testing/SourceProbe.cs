using System.Threading.Channels;

namespace Puma.Dataflow.Testing;

/// <summary>A source that emits what a test tells it to, when it tells it to, and shows the demand behind it. For <c>Pipeline.From(probe)</c>; serves one run.</summary>
/// <typeparam name="T">What it emits.</typeparam>
/// <remarks>Members may be called from any thread, before and while the pipeline runs.</remarks>
public sealed class SourceProbe<T> : SourceRunnable<T>
{
    private readonly Channel<(T Item, TaskCompletionSource Accepted)> _commands = Channel.CreateUnbounded<(T, TaskCompletionSource)>();
    private readonly TaskCompletionSource<RunState> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _pending;

    /// <summary>How many items the next stage would accept now without a wait; 0 before the run and after it.</summary>
    public int Demand => _ended.Task.IsCompleted ? 0 : Output?.Room ?? 0;

    /// <summary>How many sent items were not accepted yet.</summary>
    public int Pending => Volatile.Read(ref _pending);

    /// <summary>Ends with the outcome of the run, as far as it is known at the source, when the source has ended.</summary>
    public Task<RunState> Ended => _ended.Task;

    /// <summary>Emits an item after those that were sent before.</summary>
    /// <param name="item">The item.</param>
    /// <returns>Ends when the next stage has accepted the item; faults with <see cref="InvalidOperationException"/> when the source ended before.</returns>
    public Task SendAsync(T item)
    {
        var accepted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Interlocked.Increment(ref _pending);
        if (!_commands.Writer.TryWrite((item, accepted)))
            Refuse(accepted);
        return accepted.Task;
    }

    /// <summary>Ends the source when all that was sent is accepted.</summary>
    public void Complete() => _commands.Writer.TryComplete();

    /// <summary>Faults the source when all that was sent is accepted.</summary>
    /// <param name="exception">What the source throws.</param>
    /// <exception cref="ArgumentNullException"><paramref name="exception"/> is null.</exception>
    public void Fault(Exception exception)
    {
        ArgumentNullException.ThrowIfNull(exception);
        _commands.Writer.TryComplete(exception);
    }

    /// <inheritdoc/>
    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        await foreach ((T item, TaskCompletionSource accepted) in _commands.Reader.ReadAllAsync(stopToken).ConfigureAwait(false))
        {
            try
            {
                await EmitAsync(item, CancellationToken.None).ConfigureAwait(false);
            }
            catch
            {
                Refuse(accepted);
                throw;
            }

            Interlocked.Decrement(ref _pending);
            accepted.SetResult();
        }
    }

    /// <inheritdoc/>
    protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
    {
        // First no more, so that what is found now is all there will ever be.
        _commands.Writer.TryComplete();
        while (_commands.Reader.TryRead(out (T Item, TaskCompletionSource Accepted) command))
            Refuse(command.Accepted);
        _ended.TrySetResult(outcome);
        return default;
    }

    private void Refuse(TaskCompletionSource accepted)
    {
        Interlocked.Decrement(ref _pending);
        accepted.SetException(new InvalidOperationException("The source probe has ended: the item was not accepted."));

        // A test need not look at it.
        _ = accepted.Task.Exception;
    }
}
