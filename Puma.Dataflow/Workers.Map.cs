using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using Puma.Dataflow.Jobs;

namespace Puma.Dataflow;

/// <content>Jobs for all elements of a sequence.</content>
public sealed partial class Workers
{
    /// <summary>Does a job for each element of a sequence; the results come in the order of the elements.</summary>
    /// <typeparam name="TArgument">What a job is given.</typeparam>
    /// <typeparam name="TResult">What it returns.</typeparam>
    /// <param name="work">The job; for workers elsewhere a static method or a lambda that captures nothing.</param>
    /// <param name="arguments">The elements; read as the results are, never further ahead than <see cref="WorkersOptions.BoundedCapacity"/>.</param>
    /// <param name="cancellationToken">Cancels the jobs and the enumeration.</param>
    /// <returns>The results. Each enumeration does all jobs anew. It ends with the <see cref="JobFailedException"/> of the first job, in order, that failed, or with what the sequence threw, after the results of the elements before; when it ends early, the jobs that are ahead of it are cancelled.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="work"/> or <paramref name="arguments"/> is null.</exception>
    /// <exception cref="ArgumentException">The workers are elsewhere, and <paramref name="work"/> cannot be called there: it captures something, for example. The message names it.</exception>
    /// <exception cref="ItemCodecException">The workers are elsewhere, and the type of the argument or of the result cannot be carried there. The message names the member.</exception>
    public IAsyncEnumerable<TResult> MapAsync<TArgument, TResult>(Func<TArgument, CancellationToken, TResult> work, IEnumerable<TArgument> arguments, CancellationToken cancellationToken = default) =>
        MapAsync(CodeOf<TArgument, TResult>(JobCode<TArgument, TResult>.OfValue, work), arguments, cancellationToken);

    /// <summary>Does an asynchronous job for each element of a sequence; the results come in the order of the elements.</summary>
    /// <typeparam name="TArgument">What a job is given.</typeparam>
    /// <typeparam name="TResult">What it returns.</typeparam>
    /// <param name="work">The job; for workers elsewhere a static method or a lambda that captures nothing.</param>
    /// <param name="arguments">The elements; read as the results are, never further ahead than <see cref="WorkersOptions.BoundedCapacity"/>.</param>
    /// <param name="cancellationToken">Cancels the jobs and the enumeration.</param>
    /// <returns>The results. Each enumeration does all jobs anew. It ends with the <see cref="JobFailedException"/> of the first job, in order, that failed, or with what the sequence threw, after the results of the elements before; when it ends early, the jobs that are ahead of it are cancelled.</returns>
    /// <inheritdoc cref="MapAsync{TArgument, TResult}(Func{TArgument, CancellationToken, TResult}, IEnumerable{TArgument}, CancellationToken)" path="/exception"/>
    [OverloadResolutionPriority(1)]
    public IAsyncEnumerable<TResult> MapAsync<TArgument, TResult>(Func<TArgument, CancellationToken, Task<TResult>> work, IEnumerable<TArgument> arguments, CancellationToken cancellationToken = default) =>
        MapAsync(CodeOf<TArgument, TResult>(JobCode<TArgument, TResult>.OfTask, work), arguments, cancellationToken);

    /// <summary>Does an asynchronous job for each element of a sequence; the results come in the order of the elements.</summary>
    /// <typeparam name="TArgument">What a job is given.</typeparam>
    /// <typeparam name="TResult">What it returns.</typeparam>
    /// <param name="work">The job; for workers elsewhere a static method or a lambda that captures nothing.</param>
    /// <param name="arguments">The elements; read as the results are, never further ahead than <see cref="WorkersOptions.BoundedCapacity"/>.</param>
    /// <param name="cancellationToken">Cancels the jobs and the enumeration.</param>
    /// <returns>The results. Each enumeration does all jobs anew. It ends with the <see cref="JobFailedException"/> of the first job, in order, that failed, or with what the sequence threw, after the results of the elements before; when it ends early, the jobs that are ahead of it are cancelled.</returns>
    /// <inheritdoc cref="MapAsync{TArgument, TResult}(Func{TArgument, CancellationToken, TResult}, IEnumerable{TArgument}, CancellationToken)" path="/exception"/>
    [OverloadResolutionPriority(2)]
    public IAsyncEnumerable<TResult> MapAsync<TArgument, TResult>(Func<TArgument, CancellationToken, ValueTask<TResult>> work, IEnumerable<TArgument> arguments, CancellationToken cancellationToken = default) =>
        MapAsync(CodeOf<TArgument, TResult>(JobCode<TArgument, TResult>.OfValueTask, work), arguments, cancellationToken);

    private IAsyncEnumerable<TResult> MapAsync<TArgument, TResult>(JobCode<TArgument, TResult> code, IEnumerable<TArgument> arguments, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        return EnumerateAsync(code, arguments, cancellationToken);
    }

    private async IAsyncEnumerable<TResult> EnumerateAsync<TArgument, TResult>(JobCode<TArgument, TResult> code, IEnumerable<TArgument> arguments, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var ahead = new Queue<Task<TResult>>();
        using var givenUp = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using IEnumerator<TArgument> elements = arguments.GetEnumerator();
        ExceptionDispatchInfo? failure = null;
        try
        {
            bool hasMore = true;
            while (true)
            {
                // At least one more for each that leaves, and as many as may be while the next result is not there.
                while (hasMore && ahead.Count < _options.BoundedCapacity && (hasMore = TryNext(out TArgument? element)))
                {
                    ahead.Enqueue(SubmitAsync(code, element!, givenUp.Token));
                    if (ahead.Peek().IsCompleted)
                        break;
                }

                if (!ahead.TryDequeue(out Task<TResult>? next))
                {
                    failure?.Throw();
                    yield break;
                }

                await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                cancellationToken.ThrowIfCancellationRequested();
                yield return await next.ConfigureAwait(false);
            }
        }
        finally
        {
            await givenUp.CancelAsync().ConfigureAwait(false);
        }

        // A sequence that fails has given the elements before: their results come first.
        bool TryNext(out TArgument? element)
        {
            try
            {
                bool hasNext = elements.MoveNext();
                element = hasNext ? elements.Current : default;
                return hasNext;
            }
            catch (Exception error)
            {
                failure = ExceptionDispatchInfo.Capture(error);
                element = default;
                return false;
            }
        }
    }
}
