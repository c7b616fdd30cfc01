namespace Puma.Dataflow;

/// <summary>How a child process ended, as far as the system tells.</summary>
/// <param name="ProcessId">The child.</param>
/// <param name="Reason">What its end means.</param>
/// <param name="ExitCode">The exit code; null when the child never ran or its end was not seen.</param>
/// <param name="Signal">The name of the signal that ended it, for example <c>SIGKILL</c>; null when none did or it cannot be told.</param>
/// <param name="Description">One sentence for a person: what happened and what it may mean.</param>
/// <param name="StandardError">Lines that it wrote to standard error last: with many, the first ten and the last ten of them; its last words when it wrote none. May be empty.</param>
public sealed record ChildExit(int ProcessId, ChildExitReason Reason, int? ExitCode, string? Signal, string Description, string StandardError)
{
    /// <summary>The number of the item that it was handling, as it noted it itself; null when there was none or it is not known.</summary>
    public long? ItemNumber { get; init; }
}

/// <summary>What the end of a child process means.</summary>
public enum ChildExitReason
{
    /// <summary>It ended after it was asked to.</summary>
    Stopped,

    /// <summary>It ended by itself although its work was not done, for example by <c>Environment.Exit</c>.</summary>
    ExitedEarly,

    /// <summary>It was ended by a signal from outside, for example by the system when memory ran out.</summary>
    Killed,

    /// <summary>An exception that nobody caught ended it.</summary>
    UnhandledException,

    /// <summary>A stack overflow ended it.</summary>
    StackOverflow,

    /// <summary>An invalid memory access ended it.</summary>
    AccessViolation,

    /// <summary><c>Environment.FailFast</c> ended it.</summary>
    FailFast,

    /// <summary>It ran out of memory.</summary>
    OutOfMemory,

    /// <summary>It crashed in a way that is not told apart further.</summary>
    Crashed,

    /// <summary>It did not start: no such program, no resources, or it failed before it was connected.</summary>
    StartFailed,

    /// <summary>It took longer than <see cref="ChildProcessPlacement.StartTimeout"/> to start and was killed.</summary>
    StartTimedOut,

    /// <summary>It gave no sign of life for <see cref="ChildProcessPlacement.HangTimeout"/>, or its handler did not return after its item's time-out, and was killed.</summary>
    Hung,

    /// <summary>It sent what no child of this library sends, or closed its connections, and was killed.</summary>
    ProtocolViolated,

    /// <summary>It did not end within <see cref="ChildProcessPlacement.StopGrace"/> when asked to, and was killed.</summary>
    StopTimedOut,
}
