namespace Puma.Dataflow;

/// <summary>Why a call to a runnable has no result.</summary>
public enum CommandFailure
{
    /// <summary>The member threw.</summary>
    Threw,

    /// <summary>The stage has ended, or gives up; the member did not run.</summary>
    StageEnded,

    /// <summary>The process of the instance was lost; whether the member ran is unknown.</summary>
    ProcessLost,

    /// <summary>The instance cannot serve the call: it does not implement the interface, or the lent object is gone. The member did not run.</summary>
    NotServed,

    /// <summary>The call took longer than <see cref="PipelineOptions.CallTimeout"/>; its token has fired, but the member may still run.</summary>
    TimedOut,

    /// <summary>An argument cannot be carried to the process of the instance, and the member did not run; or its result cannot be carried back.</summary>
    NotCarried,
}

/// <summary>A call to a runnable failed. It harms nothing but that call. What the member threw is the inner exception.</summary>
public sealed class CommandFailedException : PipelineException
{
    internal CommandFailedException(string stage, int instance, string command, CommandFailure failure, string? reason, Exception? cause)
        : base(Describe(stage, instance, command, failure, reason, cause), cause)
    {
        Stage = stage;
        Instance = instance;
        Command = command;
        Failure = failure;
        Reason = reason ?? "";
        ProcessId = FailureCause.ProcessOf(cause);
    }

    /// <summary>The stage whose runnable was called.</summary>
    public string Stage { get; }

    /// <summary>Which of its instances, counted from 0.</summary>
    public int Instance { get; }

    /// <summary>The interface and the member, for example <c>ICameraControl.PauseAsync</c>.</summary>
    public string Command { get; }

    /// <summary>Why there is no result.</summary>
    public CommandFailure Failure { get; }

    /// <summary>Why there is no result, when it is not what the member threw.</summary>
    internal string Reason { get; }

    /// <summary>The process in which it happened.</summary>
    public int ProcessId { get; }

    /// <summary>Whether the failure was caused by an exception of a type, wherever it was thrown.</summary>
    /// <typeparam name="T">The type to look for among the inner exceptions.</typeparam>
    public bool IsCausedBy<T>()
        where T : Exception =>
        FailureCause.Is<T>(InnerException);

    private static string Describe(string stage, int instance, string command, CommandFailure failure, string? reason, Exception? cause)
    {
        string where = instance == 0 ? $"stage '{stage}'" : $"instance {instance} of stage '{stage}'";
        return failure == CommandFailure.Threw && cause is not null
            ? $"{command} of {where} failed in process {FailureCause.ProcessOf(cause)}. {FailureCause.TypeNameOf(cause)}: {ExceptionText.MessageOf(cause)}"
            : $"{command} of {where} has no result: {reason}";
    }
}
