using System.Collections.Concurrent;
using Puma.Dataflow.Isolation.Codec;
using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Jobs;
using Puma.Dataflow.Stages;

namespace Puma.Dataflow;

/// <summary>
/// A number of workers that do jobs: on the thread pool or in child processes. A job is a delegate with an argument; its caller gets a task
/// that ends with the job's result, with its failure, or as cancelled. All members are safe for any thread, at any time.
/// </summary>
/// <remarks>
/// The jobs may differ in their arguments and results. A job that fails concerns its own task only. In child processes a worker that dies
/// fails the job that it had, and is replaced. There a delegate goes by its name in the program, so it must capture nothing, argument and
/// result go as values, and static fields are those of the worker.
/// </remarks>
public sealed partial class Workers : IAsyncDisposable
{
    private readonly WorkersOptions _options;
    private readonly JobLedger _ledger;
    private readonly PipelineRun<JobCall> _run;
    private readonly Lock _gate = new();

    // What was checked for another process and has its identity. Never filled in this one, where delegates may capture and so have no end.
    private readonly ConcurrentDictionary<(JobKind Kind, Delegate Work), JobCode> _codes = [];

    // Ends when no more jobs are taken, and none is on its way to a place any more.
    private readonly TaskCompletionSource _allEntered = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Guarded by _gate. How many jobs are on their way to a place.
    private long _entering;
    private bool _isClosed;

    private Workers(WorkersOptions options, JobLedger ledger, PipelineRun<JobCall> run)
    {
        (_options, _ledger, _run) = (options, ledger, run);
        Completion = RunToEndAsync();
        _ = ObserveAsync(Completion);
    }

    /// <summary>Makes workers and starts them. Jobs may be submitted at once.</summary>
    /// <param name="options">The settings.</param>
    /// <param name="cancellationToken">Cancels the workers and all their jobs.</param>
    /// <exception cref="PipelineBuildException">Something is wrong with the settings; all problems are listed.</exception>
    public static Workers Create(WorkersOptions? options = null, CancellationToken cancellationToken = default)
    {
        options ??= WorkersOptions.Default;
        var ledger = new JobLedger(options.Name);
        Pipeline<JobCall> pipeline = Describe(options, ledger);
        if (options.Placement is not InProcessPlacement)
            ledger.Codecs = new ItemCodecs(options.ItemCodec?.Invoke(), options.DerivedTypes);
        PipelineRun<JobCall> run = pipeline.Start(cancellationToken);
        ledger.Logger = run.Graph.Logger;
        return new Workers(options, ledger, run);
    }

    /// <summary>Ends when all workers have started, or with the failure of the one that could not start.</summary>
    public Task Started => _run.Started;

    /// <summary>Ends when all jobs and all workers have: completed, cancelled, or with the one <see cref="StageFaultedException"/> that ended the workers.</summary>
    public Task Completion { get; }

    /// <summary>The account of the run that they are.</summary>
    internal Task<PipelineReport> Report => _run.Report;

    /// <summary>What the workers do now.</summary>
    public WorkersSnapshot Snapshot()
    {
        PipelineSnapshot run = _run.Snapshot();

        // In the order of a job's life, and each job in one number: no number shows more jobs than there are, nor do all together.
        long submitted = _ledger.Submitted;
        long waiting;
        lock (_gate)
            waiting = _entering;
        long running = Math.Min(_ledger.Running, _options.Count);
        long succeeded = _ledger.Succeeded, failed = _ledger.Failed, canceled = _ledger.Canceled;
        long open = Math.Max(0, submitted - succeeded - failed - canceled);
        running = Math.Min(running, open);
        waiting = Math.Min(waiting, open - running);
        return new WorkersSnapshot
        {
            State = run.State,
            Waiting = waiting,
            Running = running,
            Queued = Math.Min(open - running - waiting, _options.BoundedCapacity - running),
            Succeeded = succeeded,
            Failed = failed,
            Canceled = canceled,
            Restarts = run.Stage(_options.Name).Restarts,
            Duration = run.Duration,
            Cause = run.Cause,
        };
    }

    /// <summary>Takes no more jobs, and does those that were submitted, also those that still wait for a place.</summary>
    /// <returns>The same as <see cref="Completion"/>.</returns>
    public Task CompleteAsync()
    {
        Close();
        return Completion;
    }

    /// <summary>Takes no more jobs, does those that were submitted, and cancels what has not ended at the deadline.</summary>
    /// <param name="deadline">How long the jobs may take; not negative, at most 49 days.</param>
    /// <returns>What the workers have done; the task never faults.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="deadline"/> is negative or too long for a timer.</exception>
    public Task<WorkersSnapshot> StopAsync(TimeSpan deadline)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(deadline, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(deadline, TimeLimits.Longest);
        Close();
        return StopAtAsync(deadline);
    }

    /// <summary>Cancels all jobs, those that wait and those that run, and returns when all have ended, at the latest after <see cref="WorkersOptions.AbortTimeout"/>; when no job is left the workers end as completed. Never throws.</summary>
    public async ValueTask DisposeAsync()
    {
        bool hasJobs;
        lock (_gate)
        {
            _isClosed = true;
            hasJobs = _entering > 0 || _ledger.Open > 0;
        }

        // A job has its result before its slot is given back: when nothing but that is left, there is nothing to cancel.
        if (!hasJobs)
            CompleteRun();
        else if (!Completion.IsCompleted)
            _run.Cancel();
        await Completion.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private static Pipeline<JobCall> Describe(WorkersOptions options, JobLedger ledger)
    {
        IReadOnlyList<string> problems = WorkersRules.FindProblems(options);
        if (problems.Count > 0)
            throw new PipelineBuildException(problems);
        try
        {
            return Pipeline.Accept<JobCall>(new() { Name = $"{options.Name}.submit" })
                .Continue<JobReply>(JobStages.Define(new()
                {
                    Name = options.Name,
                    MaxDegreeOfParallelism = options.Count,
                    EnsureOrdered = false,
                    BoundedCapacity = options.BoundedCapacity,
                    Placement = WorkersRules.PlacementOf(options),
                    ErrorPolicy = ErrorPolicy.DeadLetter<JobCall>((letter, _) =>
                    {
                        letter.Item.Ticket!.Fail(letter.Error, letter.ItemNumber);
                        return default;
                    }),
                    ItemTimeout = options.JobTimeout,
                    OwnThread = options.OwnThread,
                }))
                .ForEach(ledger.Answer, new() { Name = $"{options.Name}.answer" })
                .Build(new PipelineOptions
                {
                    Name = options.Name,
                    LoggerFactory = options.LoggerFactory,
                    TimeProvider = options.TimeProvider,
                    AbortTimeout = options.AbortTimeout,
                    StallTimeout = Timeout.InfiniteTimeSpan, // A job may take as long as it needs.
                    ItemCodec = options.ItemCodec,
                    DerivedTypes = options.DerivedTypes,
                    OnDiscarded = ledger.OnDiscarded,
                });
        }
        catch (PipelineBuildException error)
        {
            throw new PipelineBuildException([.. error.Problems.Select(static p => p.Replace(nameof(PipelineOptions), nameof(WorkersOptions), StringComparison.Ordinal))]);
        }
    }

    /// <summary>What a job calls.</summary>
    /// <exception cref="ArgumentException">The delegate cannot be called where the workers are.</exception>
    /// <exception cref="ItemCodecException">The type of the argument or of the result cannot be carried.</exception>
    private JobCode<TArgument, TResult> CodeOf<TArgument, TResult>(JobKind kind, Delegate work)
    {
        ArgumentNullException.ThrowIfNull(work);
        return (JobCode<TArgument, TResult>)(_ledger.Codecs is not { } codecs ? kind(work) : _codes.GetOrAdd((kind, work), static (code, codecs) =>
        {
            if (DelegateIdentity.FindProblem(code.Work, "as its argument") is { } problem)
                throw new ArgumentException($"The job cannot run in another process, because {problem}", nameof(work));
            _ = (codecs.For<TArgument>(), codecs.For<TResult>());
            return code.Kind(code.Work);
        }, codecs));
    }

    private Task<TResult> SubmitAsync<TArgument, TResult>(JobCode<TArgument, TResult> code, TArgument argument, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
            return Task.FromCanceled<TResult>(cancellationToken);
        if (!TryEnter())
            return RefuseAsync<TResult>();

        // Once on its way: the ledger, which ends with the last job on its way, never holds one that was refused.
        var ticket = new JobTicket<TResult>(_ledger, cancellationToken);
        ticket.ObserveToken();
        ValueTask sending = _run.SendAsync(new JobCall<TArgument, TResult>(ticket.Id, code, argument, ticket), cancellationToken);
        if (sending.IsCompletedSuccessfully)
            Leave();
        else
            _ = EnterLaterAsync(sending, ticket, hasWaited: !sending.IsCompleted);
        return ticket.Task;
    }

    private Task<TResult> RefuseAsync<TResult>()
    {
        PipelineSnapshot run = _run.Snapshot();
        var refused = Task.FromException<TResult>(PipelineClosedException.OfWorkers(_options.Name, run.State == RunState.Running ? RunState.Draining : run.State, run.Cause));

        // As with a job that fails, who does not await it is not told of it as of an unobserved exception.
        _ = refused.Exception;
        return refused;
    }

    private async Task EnterLaterAsync(ValueTask sending, JobTicket ticket, bool hasWaited)
    {
        try
        {
            await sending.ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            ticket.Withdraw();
        }
        catch (PipelineClosedException closed) when (hasWaited && closed.State is RunState.Canceling or RunState.Canceled)
        {
            ticket.Withdraw();
        }
        catch (PipelineClosedException closed)
        {
            ticket.Refuse(PipelineClosedException.OfWorkers(_options.Name, closed.State, closed.InnerException));
        }
        catch (Exception why)
        {
            ticket.Refuse(why);
        }
        finally
        {
            Leave();
        }
    }

    private bool TryEnter()
    {
        lock (_gate)
        {
            if (!_isClosed)
                _entering++;
            return !_isClosed;
        }
    }

    private void Leave()
    {
        bool isLast;
        lock (_gate)
            isLast = --_entering == 0 && _isClosed;
        if (isLast)
            CompleteRun();
    }

    private void Close()
    {
        bool isLast;
        lock (_gate)
        {
            _isClosed = true;
            isLast = _entering == 0;
        }

        if (isLast)
            CompleteRun();
    }

    private void CompleteRun()
    {
        _run.Complete();
        _allEntered.TrySetResult();
    }

    private async Task<WorkersSnapshot> StopAtAsync(TimeSpan deadline)
    {
        await Completion.WaitAsync(deadline, _options.TimeProvider).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await DisposeAsync().ConfigureAwait(false);
        return Snapshot();
    }

    private async Task RunToEndAsync()
    {
        PipelineReport report = await _run.Report.ConfigureAwait(false);

        // Jobs that waited for a place were refused by the end of the run; they say so themselves.
        Close();
        await _allEntered.Task.ConfigureAwait(false);
        _ledger.EndAll(report.Cause);
        await _run.Completion.ConfigureAwait(false);
    }

    /// <summary>A fault is logged; who does not await the end is not told of it as of an unobserved exception.</summary>
    private static async Task ObserveAsync(Task completion) => await completion.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
}
