namespace Puma.Dataflow;

/// <summary>Why a call to a runnable has no result.</summary>
public enum CommandFailure
{
    /// <summary>The member threw.</summary>
    Threw,

    /// <summary>The stage has ended, or gives up; the member did not run, unless the message says that it ran meanwhile, had begun, or that this is unknown.</summary>
    StageEnded,

    /// <summary>The process of the instance was lost; whether the member ran is unknown.</summary>
    ProcessLost,

    /// <summary>The instance cannot serve the call: it does not implement the interface, the lent object is gone, an instance of a pool called all of the pool, or an instance read a stream of its own. The member did not run.</summary>
    NotServed,

    /// <summary>The call took longer than <see cref="PipelineOptions.CallTimeout"/>. One that waited never runs; the token of one that runs has fired, but it may still run. The message says which, as far as it is known: whether a child had begun with it is not.</summary>
    TimedOut,

    /// <summary>An argument, or the type of the result, cannot be carried to another process, and the member did not run; or it ran, and the value of its result cannot be carried back.</summary>
    NotCarried,
}

/// <summary>
/// A call to a runnable failed, which harms nothing but that call. What the member threw is the inner exception; from another process it
/// is a <see cref="RemoteRunnableException"/>.
/// </summary>
public sealed class CommandFailedException : PipelineException
{
    internal CommandFailedException(string stage, int instance, string member, CommandFailure failure, string? reason, Exception? cause)
        : base(Describe(stage, instance, member, failure, reason, cause), cause)
    {
        Stage = stage;
        Instance = instance;
        Member = member;
        Failure = failure;
        Reason = reason ?? "";
        ProcessId = FailureCause.ProcessOf(cause);
    }

    /// <summary>The stage whose runnable was called.</summary>
    public string Stage { get; }

    /// <summary>Which of its instances, counted from 0.</summary>
    public int Instance { get; }

    /// <summary>The interface and the member that was called, for example <c>ICameraControl.PauseAsync</c>.</summary>
    public string Member { get; }

    /// <summary>Why there is no result.</summary>
    public CommandFailure Failure { get; }

    /// <summary>Why there is no result, when it is not what the member threw.</summary>
    internal string Reason { get; }

    /// <summary>The process in which it happened: that of the member when it threw, the lost one, otherwise this one.</summary>
    public int ProcessId { get; }

    /// <summary>Whether the failure was caused by an exception of a type, or of one derived from it, in whichever process it was thrown.</summary>
    /// <typeparam name="T">The type to look for among the inner exceptions.</typeparam>
    public bool IsCausedBy<T>()
        where T : Exception =>
        FailureCause.Is<T>(InnerException);

    private static string Describe(string stage, int instance, string member, CommandFailure failure, string? reason, Exception? cause)
    {
        string where = instance == 0 ? $"stage '{stage}'" : $"instance {instance} of stage '{stage}'";
        return failure == CommandFailure.Threw && cause is not null
            ? $"{member} of {where} failed in process {FailureCause.ProcessOf(cause)}. {FailureCause.TypeNameOf(cause)}: {ExceptionText.MessageOf(cause)}"
            : $"{member} of {where} {(failure == CommandFailure.NotServed ? "did not run" : "was not answered")}: {reason}";
    }
}
