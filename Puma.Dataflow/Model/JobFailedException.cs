namespace Puma.Dataflow;

/// <summary>A job of <see cref="Workers"/> failed; no other job is concerned. The inner exception says why.</summary>
/// <remarks>
/// The inner exception is what the job threw: the original object when it ran in this process, else a <see cref="RemoteRunnableException"/>.
/// It is a <see cref="ChildProcessLostException"/> when the worker died with the job, a <see cref="TimeoutException"/> when the job took
/// longer than <see cref="WorkersOptions.JobTimeout"/>, an <see cref="ItemCodecException"/> when its argument cannot be carried, so that it
/// did not run, or its result cannot, after it did (<see cref="IsOutcomeUnknown"/> tells them apart), and the
/// <see cref="StageFaultedException"/> that ended all of them when the workers have faulted.
/// </remarks>
public sealed class JobFailedException : PipelineException
{
    internal JobFailedException(string workers, Exception cause, long? jobNumber)
        : base(Describe(workers, cause, jobNumber), cause)
    {
        WorkersName = workers;
        JobNumber = jobNumber;
        ProcessId = FailureCause.ProcessOf(cause);
        IsOutcomeUnknown = cause is ChildProcessLostException;
    }

    internal JobFailedException(string workers, StageFaultedException cause, bool hasBegun)
        : base($"A job of '{workers}' was {(hasBegun ? "given up in work; whether it has done its work is unknown" : "not run")}, because the workers have faulted. {ExceptionText.MessageOf(cause)}", cause)
    {
        WorkersName = workers;
        ProcessId = cause.ProcessId;
        IsOutcomeUnknown = hasBegun;
    }

    internal JobFailedException(string workers, Exception uncarried, long? jobNumber, int processId)
        : base($"{Which(jobNumber)} of '{workers}' ran in process {processId}, but its result cannot be carried. {ExceptionText.MessageOf(uncarried)}", uncarried)
    {
        WorkersName = workers;
        JobNumber = jobNumber;
        ProcessId = processId;
        IsOutcomeUnknown = true;
    }

    /// <summary>The name of the workers.</summary>
    public string WorkersName { get; }

    /// <summary>The number that the job has in the log, in the order in which jobs were taken, counted from 1; null when it got none.</summary>
    public long? JobNumber { get; }

    /// <summary>The process in which it happened.</summary>
    public int ProcessId { get; }

    /// <summary>
    /// Whether the job may have done its work, in part or in whole, without its caller being told how it ended: a worker had it when that was
    /// lost, or when all were given up, or it returned what cannot be carried.
    /// </summary>
    public bool IsOutcomeUnknown { get; }

    /// <summary>Whether the failure is, or was caused by, an exception of a type. Answers alike in every placement.</summary>
    /// <typeparam name="T">The type to look for among the inner exceptions.</typeparam>
    public bool IsCausedBy<T>()
        where T : Exception =>
        FailureCause.Is<T>(InnerException);

    private static string Which(long? jobNumber) => jobNumber is null ? "A job" : $"Job {jobNumber}";

    private static string Describe(string workers, Exception cause, long? jobNumber)
    {
        string which = Which(jobNumber);
        return cause is ChildProcessLostException
            ? $"{which} of '{workers}' was lost with its worker, so whether it has done its work is unknown. {ExceptionText.MessageOf(cause)}"
            : $"{which} of '{workers}' failed in process {FailureCause.ProcessOf(cause)}. {FailureCause.TypeNameOf(cause)}: {ExceptionText.MessageOf(cause)}";
    }
}
