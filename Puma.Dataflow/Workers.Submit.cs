using System.Runtime.CompilerServices;
using Puma.Dataflow.Jobs;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <content>Single jobs.</content>
public sealed partial class Workers
{
    // One for each kind of delegate, and none can be left out: without it, its delegates would be taken for those of another. A method
    // that returns a task would be a job whose result is the unfinished task; an async lambda without a result would be async void. The
    // priorities decide for lambdas that fit several. The same holds for MapAsync.

    /// <summary>Submits a job that returns its result.</summary>
    /// <typeparam name="TArgument">What the job is given.</typeparam>
    /// <typeparam name="TResult">What it returns.</typeparam>
    /// <param name="work">The job; for workers elsewhere a static method or a lambda that captures nothing. Its token fires when the job is cancelled, has taken too long, or the workers are given up.</param>
    /// <param name="argument">What it is given; the job's from here on.</param>
    /// <param name="cancellationToken">Cancels this job.</param>
    /// <returns>Ends with the result, with <see cref="JobFailedException"/>, with <see cref="PipelineClosedException"/> when the workers take no more jobs, or as cancelled.</returns>
    /// <remarks>
    /// When <see cref="WorkersOptions.BoundedCapacity"/> jobs are held, the job waits for a place, in the order of the calls, as part of its task.
    /// A job that was not begun is cancelled at once and never runs; the token of one that runs fires, wherever it runs, and its task ends
    /// when the job does.
    /// </remarks>
    /// <exception cref="ArgumentNullException"><paramref name="work"/> is null.</exception>
    /// <exception cref="ArgumentException">The workers are elsewhere, and <paramref name="work"/> cannot be called there: it captures something, for example. The message names it.</exception>
    /// <exception cref="ItemCodecException">The workers are elsewhere, and the type of the argument or of the result cannot be carried there. The message names the member.</exception>
    public Task<TResult> SubmitAsync<TArgument, TResult>(Func<TArgument, CancellationToken, TResult> work, TArgument argument, CancellationToken cancellationToken = default) =>
        SubmitAsync(CodeOf<TArgument, TResult>(JobCode<TArgument, TResult>.OfValue, work), argument, cancellationToken);

    /// <summary>Submits an asynchronous job.</summary>
    /// <typeparam name="TArgument">What the job is given.</typeparam>
    /// <typeparam name="TResult">What it returns.</typeparam>
    /// <param name="work">The job; for workers elsewhere a static method or a lambda that captures nothing. Its token fires when the job is cancelled, has taken too long, or the workers are given up.</param>
    /// <param name="argument">What it is given; the job's from here on.</param>
    /// <param name="cancellationToken">Cancels this job.</param>
    /// <returns>Ends with the result, with <see cref="JobFailedException"/>, with <see cref="PipelineClosedException"/> when the workers take no more jobs, or as cancelled.</returns>
    /// <inheritdoc cref="SubmitAsync{TArgument, TResult}(Func{TArgument, CancellationToken, TResult}, TArgument, CancellationToken)" path="/remarks|/exception"/>
    [OverloadResolutionPriority(4)]
    public Task<TResult> SubmitAsync<TArgument, TResult>(Func<TArgument, CancellationToken, Task<TResult>> work, TArgument argument, CancellationToken cancellationToken = default) =>
        SubmitAsync(CodeOf<TArgument, TResult>(JobCode<TArgument, TResult>.OfTask, work), argument, cancellationToken);

    /// <summary>Submits an asynchronous job.</summary>
    /// <typeparam name="TArgument">What the job is given.</typeparam>
    /// <typeparam name="TResult">What it returns.</typeparam>
    /// <param name="work">The job; for workers elsewhere a static method or a lambda that captures nothing. Its token fires when the job is cancelled, has taken too long, or the workers are given up.</param>
    /// <param name="argument">What it is given; the job's from here on.</param>
    /// <param name="cancellationToken">Cancels this job.</param>
    /// <returns>Ends with the result, with <see cref="JobFailedException"/>, with <see cref="PipelineClosedException"/> when the workers take no more jobs, or as cancelled.</returns>
    /// <inheritdoc cref="SubmitAsync{TArgument, TResult}(Func{TArgument, CancellationToken, TResult}, TArgument, CancellationToken)" path="/remarks|/exception"/>
    [OverloadResolutionPriority(5)]
    public Task<TResult> SubmitAsync<TArgument, TResult>(Func<TArgument, CancellationToken, ValueTask<TResult>> work, TArgument argument, CancellationToken cancellationToken = default) =>
        SubmitAsync(CodeOf<TArgument, TResult>(JobCode<TArgument, TResult>.OfValueTask, work), argument, cancellationToken);

    /// <summary>Submits a job that returns nothing.</summary>
    /// <typeparam name="TArgument">What the job is given.</typeparam>
    /// <param name="work">The job; for workers elsewhere a static method or a lambda that captures nothing. Its token fires when the job is cancelled, has taken too long, or the workers are given up.</param>
    /// <param name="argument">What it is given; the job's from here on.</param>
    /// <param name="cancellationToken">Cancels this job.</param>
    /// <returns>Ends when the job has returned, with <see cref="JobFailedException"/>, with <see cref="PipelineClosedException"/> when the workers take no more jobs, or as cancelled.</returns>
    /// <inheritdoc cref="SubmitAsync{TArgument, TResult}(Func{TArgument, CancellationToken, TResult}, TArgument, CancellationToken)" path="/remarks|/exception"/>
    /// <exception cref="ArgumentException"><paramref name="work"/> is <c>async void</c>, wherever the workers are: return a task.</exception>
    [OverloadResolutionPriority(-1)]
    public Task SubmitAsync<TArgument>(Action<TArgument, CancellationToken> work, TArgument argument, CancellationToken cancellationToken = default) =>
        SubmitAsync(CodeOf<TArgument, NoResult>(OfAwaitedAction<TArgument>, work), argument, cancellationToken);

    private static JobCode OfAwaitedAction<TArgument>(Delegate work)
    {
        List<string> problems = [];
        DroppedResults.Check(work, problems);
        return problems.Count == 0 ? JobsWithoutResult<TArgument>.OfAction(work) : throw new ArgumentException($"The job cannot be done: {problems[0]}", nameof(work));
    }

    /// <summary>Submits an asynchronous job that returns nothing.</summary>
    /// <typeparam name="TArgument">What the job is given.</typeparam>
    /// <param name="work">The job; for workers elsewhere a static method or a lambda that captures nothing. Its token fires when the job is cancelled, has taken too long, or the workers are given up.</param>
    /// <param name="argument">What it is given; the job's from here on.</param>
    /// <param name="cancellationToken">Cancels this job.</param>
    /// <returns>Ends when the job has returned, with <see cref="JobFailedException"/>, with <see cref="PipelineClosedException"/> when the workers take no more jobs, or as cancelled.</returns>
    /// <inheritdoc cref="SubmitAsync{TArgument, TResult}(Func{TArgument, CancellationToken, TResult}, TArgument, CancellationToken)" path="/remarks|/exception"/>
    [OverloadResolutionPriority(2)]
    public Task SubmitAsync<TArgument>(Func<TArgument, CancellationToken, Task> work, TArgument argument, CancellationToken cancellationToken = default) =>
        SubmitAsync(CodeOf<TArgument, NoResult>(JobsWithoutResult<TArgument>.OfTask, work), argument, cancellationToken);

    /// <summary>Submits an asynchronous job that returns nothing.</summary>
    /// <typeparam name="TArgument">What the job is given.</typeparam>
    /// <param name="work">The job; for workers elsewhere a static method or a lambda that captures nothing. Its token fires when the job is cancelled, has taken too long, or the workers are given up.</param>
    /// <param name="argument">What it is given; the job's from here on.</param>
    /// <param name="cancellationToken">Cancels this job.</param>
    /// <returns>Ends when the job has returned, with <see cref="JobFailedException"/>, with <see cref="PipelineClosedException"/> when the workers take no more jobs, or as cancelled.</returns>
    /// <inheritdoc cref="SubmitAsync{TArgument, TResult}(Func{TArgument, CancellationToken, TResult}, TArgument, CancellationToken)" path="/remarks|/exception"/>
    [OverloadResolutionPriority(3)]
    public Task SubmitAsync<TArgument>(Func<TArgument, CancellationToken, ValueTask> work, TArgument argument, CancellationToken cancellationToken = default) =>
        SubmitAsync(CodeOf<TArgument, NoResult>(JobsWithoutResult<TArgument>.OfValueTask, work), argument, cancellationToken);
}
