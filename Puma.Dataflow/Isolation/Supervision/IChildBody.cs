namespace Puma.Dataflow.Isolation.Supervision;

/// <summary>Where the other end of an isolated stage lives: a child process, or this process for loopback. Any thread.</summary>
internal interface IChildBody : IAsyncDisposable
{
    int ProcessId { get; }

    Stream Data { get; }

    Stream Control { get; }

    /// <summary>Ends when it has, with how; never faults.</summary>
    Task<ChildExit> Exited { get; }

    /// <summary>Whether it has ended or is about to, which <see cref="Exited"/> may tell later.</summary>
    bool IsEnding { get; }

    /// <summary>What it had logged after a record; to be read when it has exited.</summary>
    LastLog ReadLogAfter(long number);

    /// <summary>The item that it handles now, as it notes it; 0 when none or unknown.</summary>
    long ItemInWork { get; }

    /// <summary>From here on its end is no loss.</summary>
    void ExpectStop();

    /// <summary>Asks it to end.</summary>
    void Terminate(ChildExitReason because);

    /// <summary>Ends it at once, with all that it started.</summary>
    /// <param name="because">What its exit says.</param>
    /// <param name="why">The sentence that its exit says; null for that of the reason.</param>
    void Kill(ChildExitReason because, string? why = null);

    /// <summary>Closes its connections, with which it ends, and waits for that; kills it when it takes too long.</summary>
    Task LeaveAsync();
}

/// <summary>A child did not get so far that it could be used.</summary>
internal sealed class ChildStartException(ChildExit exit) : Exception(exit.Description)
{
    public ChildExit Exit => exit;
}
