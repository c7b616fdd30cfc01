namespace Puma.Dataflow;

/// <summary>The base of all exceptions of this library.</summary>
public abstract class PipelineException : Exception
{
    private protected PipelineException(string message, Exception? inner = null) : base(message, inner) { }
}

/// <summary>A pipeline could not be built. Lists every problem that was found.</summary>
public sealed class PipelineBuildException : PipelineException
{
    internal PipelineBuildException(IReadOnlyList<string> problems)
        : base(problems.Count == 1
            ? problems[0]
            : $"The pipeline has {problems.Count} problems:{Environment.NewLine}- {string.Join(Environment.NewLine + "- ", problems)}") => Problems = problems;

    /// <summary>The problems, each with stage, option, value and what to do.</summary>
    public IReadOnlyList<string> Problems { get; }
}

/// <summary>An item was sent to a pipeline that takes no more.</summary>
public sealed class PipelineClosedException : PipelineException
{
    internal PipelineClosedException(string stage, RunState state, Exception? cause)
        : this($"The entry '{stage}' takes no more items: the run is {state}{Because(cause)}. The item was not accepted.", stage, state, cause)
    {
    }

    private PipelineClosedException(string message, string stage, RunState state, Exception? cause)
        : base(message, cause)
    {
        Stage = stage;
        State = state;
    }

    internal static PipelineClosedException OfWorkers(string name, RunState state, Exception? cause) =>
        new($"The workers '{name}' take no more jobs: they are {state}{Because(cause)}. The job was not accepted and did not run.", name, state, cause);

    private static string Because(Exception? cause) => cause is null ? "" : $" ({ExceptionText.MessageOf(cause)})";

    /// <summary>The name of the entry.</summary>
    public string Stage { get; }

    /// <summary>The state of the run when the item was refused.</summary>
    public RunState State { get; }
}

/// <summary>A branch was to be attached to a broadcast that takes no more branches, because it or its run is ending or has ended. The branch was not attached.</summary>
public sealed class BroadcastClosedException : PipelineException
{
    internal BroadcastClosedException(string stage, RunState state, EndReason reason, Exception? cause)
        : base($"The broadcast '{stage}' takes no more branches: {(reason == EndReason.None ? "" : $"it has ended ({reason}), and ")}the run is {state}{(cause is null ? "" : $" ({ExceptionText.MessageOf(cause)})")}. The branch was not attached.", cause)
    {
        Stage = stage;
        State = state;
        EndReason = reason;
    }

    /// <summary>The name of the broadcast.</summary>
    public string Stage { get; }

    /// <summary>The state of the run when the branch was refused.</summary>
    public RunState State { get; }

    /// <summary>Why the broadcast has ended; <see cref="EndReason.None"/> when it has not.</summary>
    public EndReason EndReason { get; }
}

/// <summary>An entry or a branch with <see cref="FullMode.Fail"/> had no slot for an item.</summary>
public sealed class PipelineFullException : PipelineException
{
    internal PipelineFullException(string stage, int capacity)
        : base($"All {capacity} slots of the input of '{stage}' are taken and its full mode is Fail. Raise BoundedCapacity, send more slowly or choose another FullMode.")
    {
        Stage = stage;
        Capacity = capacity;
    }

    /// <summary>The name of the entry, or of the first stage of the branch.</summary>
    public string Stage { get; }

    /// <summary>The capacity that was used up, in items.</summary>
    public int Capacity { get; }
}

/// <summary>A status was awaited of a stage that has ended without it.</summary>
public sealed class StageEndedException : PipelineException
{
    internal StageEndedException(string stage, StageState state, string awaited, Exception? cause)
        : base($"Stage '{stage}' has ended ({state}) without {awaited}.", cause)
    {
        Stage = stage;
        State = state;
    }

    /// <summary>The name of the stage.</summary>
    public string Stage { get; }

    /// <summary>How it has ended.</summary>
    public StageState State { get; }
}

/// <summary>A run faulted. The inner exception is the one that user code threw.</summary>
public sealed class StageFaultedException : PipelineException
{
    internal StageFaultedException(string? stage, Exception cause, long? itemNumber = null, int attempt = 0)
        : base(Describe(stage, cause, itemNumber, attempt), cause)
    {
        Stage = stage;
        ItemNumber = itemNumber;
        Attempt = attempt;
        ProcessId = FailureCause.ProcessOf(cause);
    }

    /// <summary>The stage that failed; null when the fault came from <see cref="PipelineRun.Fault"/>.</summary>
    public string? Stage { get; }

    /// <summary>The number of the item at that stage, counted from 1; null when no item was handled.</summary>
    public long? ItemNumber { get; }

    /// <summary>The attempt that failed, counted from 1; 0 when no item was handled.</summary>
    public int Attempt { get; }

    /// <summary>The process in which it happened.</summary>
    public int ProcessId { get; }

    /// <summary>Whether the failure is, or was caused by, an exception of a type.</summary>
    /// <typeparam name="T">The type to look for among the inner exceptions.</typeparam>
    public bool IsCausedBy<T>()
        where T : Exception =>
        FailureCause.Is<T>(InnerException);

    private static string Describe(string? stage, Exception cause, long? itemNumber, int attempt)
    {
        string what = $"{FailureCause.TypeNameOf(cause)}: {ExceptionText.MessageOf(cause)}";
        if (stage is null)
            return $"The run was faulted from outside. {what}";
        string item = itemNumber is null ? "" : $" at item {itemNumber}";
        string attempts = attempt > 1 ? $" (attempt {attempt})" : "";
        return $"Stage '{stage}' failed{item}{attempts} in process {FailureCause.ProcessOf(cause)}. {what}";
    }
}

/// <summary>An exception of another process, as data: no type of the other process is made here.</summary>
/// <remarks>Its <see cref="Exception.Message"/> is the original one; <see cref="Exception.Data"/> holds what the original's held, as far as it can travel.</remarks>
public sealed class RemoteRunnableException : PipelineException
{
    internal RemoteRunnableException(string typeName, IReadOnlyList<string> baseTypeNames, string message, string remoteStackTrace, IReadOnlyList<Exception> innerExceptions, int processId)
        : base(message, innerExceptions.Count > 0 ? innerExceptions[0] : null)
    {
        TypeName = typeName;
        BaseTypeNames = baseTypeNames;
        RemoteStackTrace = remoteStackTrace;
        InnerExceptions = innerExceptions;
        ProcessId = processId;
    }

    /// <summary>The full name of the original type.</summary>
    public string TypeName { get; }

    /// <summary>The full names of the types that the original derives from, the nearest first.</summary>
    public IReadOnlyList<string> BaseTypeNames { get; }

    /// <summary>The stack trace of the process that it was thrown in, with file and line as far as that process knew them.</summary>
    public string RemoteStackTrace { get; }

    /// <summary>All inner exceptions; several only when the original was an <see cref="AggregateException"/>.</summary>
    public IReadOnlyList<Exception> InnerExceptions { get; }

    /// <summary>The process that it was thrown in.</summary>
    public int ProcessId { get; }

    /// <summary>What the original says of itself in whole; null when it is composed here.</summary>
    internal string? OriginalText { get; init; }

    /// <summary>Whether the original is of a type, or of one that derives from it.</summary>
    /// <typeparam name="T">The type; compared by its full name.</typeparam>
    public bool Is<T>()
        where T : Exception =>
        typeof(T).FullName is { } name && (TypeName == name || BaseTypeNames.Contains(name));

    /// <summary>The type, the message and both stack traces.</summary>
    public override string ToString()
    {
        if (OriginalText is not null)
            return OriginalText;
        string text = $"{TypeName}: {Message} (in process {ProcessId})";
        if (InnerException is not null)
            text += $"{Environment.NewLine} ---> {InnerException}{Environment.NewLine}   --- End of inner exception ---";
        if (RemoteStackTrace.Length > 0)
            text += $"{Environment.NewLine}{RemoteStackTrace}{Environment.NewLine}   --- End of the stack trace of process {ProcessId} ---";
        return StackTrace is null ? text : text + Environment.NewLine + StackTrace;
    }
}

/// <summary>A child process was lost: it crashed, was killed, hung or broke the protocol.</summary>
public sealed class ChildProcessLostException : PipelineException
{
    internal ChildProcessLostException(string stage, ChildExit exit, int inFlight, Exception? inner = null)
        : base(Describe(stage, exit, inFlight), inner)
    {
        Stage = stage;
        Exit = exit;
        InFlight = inFlight;
    }

    /// <summary>The stage whose child it was.</summary>
    public string Stage { get; }

    /// <summary>How the child ended.</summary>
    public ChildExit Exit { get; }

    /// <summary>How many items the child held.</summary>
    public int InFlight { get; }

    private static string Describe(string stage, ChildExit exit, int inFlight)
    {
        string held = inFlight == 0 ? "It held no items." : $"It held {inFlight} item{(inFlight == 1 ? "" : "s")}{(exit.ItemNumber is { } item ? $"; item {item} was in work" : "")}.";
        string stderr = exit.StandardError.Length == 0 ? "" : $" Its last lines on standard error:{Environment.NewLine}{exit.StandardError}";
        return $"The child process {exit.ProcessId} of stage '{stage}' was lost. {exit.Description} {held}{stderr}";
    }
}

/// <summary>A stage cannot run in a child process in this program as it is deployed. The message names the fix.</summary>
public sealed class IsolationNotSupportedException : PipelineException
{
    internal IsolationNotSupportedException(string message, Exception? inner = null) : base(message, inner) { }
}
