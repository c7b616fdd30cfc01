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
        : base($"The entry '{stage}' takes no more items: the run is {state}{(cause is null ? "" : $" ({cause.Message})")}. The item was not accepted.", cause)
    {
        Stage = stage;
        State = state;
    }

    /// <summary>The name of the entry.</summary>
    public string Stage { get; }

    /// <summary>The state of the run when the item was refused.</summary>
    public RunState State { get; }
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

/// <summary>A run faulted. The inner exception is the one that user code threw.</summary>
public sealed class StageFaultedException : PipelineException
{
    internal StageFaultedException(string? stage, Exception cause, long? itemNumber = null, int attempt = 0)
        : base(Describe(stage, cause, itemNumber, attempt), cause)
    {
        Stage = stage;
        ItemNumber = itemNumber;
        Attempt = attempt;
        ProcessId = Environment.ProcessId;
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
        where T : Exception
    {
        for (Exception? error = InnerException; error is not null; error = error.InnerException)
        {
            if (error is T || (error is AggregateException aggregate && aggregate.Flatten().InnerExceptions.Any(static e => e is T)))
                return true;
        }

        return false;
    }

    private static string Describe(string? stage, Exception cause, long? itemNumber, int attempt)
    {
        string what = $"{cause.GetType().Name}: {cause.Message}";
        if (stage is null)
            return $"The run was faulted from outside. {what}";
        string item = itemNumber is null ? "" : $" at item {itemNumber}";
        string attempts = attempt > 1 ? $" (attempt {attempt})" : "";
        return $"Stage '{stage}' failed{item}{attempts} in process {Environment.ProcessId}. {what}";
    }
}
