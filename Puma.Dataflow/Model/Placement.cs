namespace Puma.Dataflow;

/// <summary>Says where the instances of a stage live. The choice changes neither the runnable nor the code around it.</summary>
public abstract record Placement
{
    private protected Placement() { }

    /// <summary>The stage runs in this process, on threads that stages share: those of the pool, and those that receive from child processes (or on its own thread, see <see cref="StageOptions.OwnThread"/>). This is the default.</summary>
    public static InProcessPlacement InProcess { get; } = new();

    /// <summary>Each instance of the stage runs in a child process of its own. What happens when one is lost, and its limits, are set by <c>with { … }</c>.</summary>
    public static ChildProcessPlacement ChildProcess { get; } = new();

    /// <summary>The stage runs in this process behind the codec and framing of a child process, so that a test finds what cannot travel.</summary>
    public static LoopbackPlacement Loopback { get; } = new();
}

/// <summary>The stage runs in this process.</summary>
public sealed record InProcessPlacement : Placement
{
    internal InProcessPlacement() { }
}

/// <summary>The stage runs in child processes, one for each instance.</summary>
public sealed record ChildProcessPlacement : Placement
{
    internal ChildProcessPlacement() { }

    /// <summary>What happens when a child is lost: it crashed, was killed, hung or broke the protocol. An exception of user code is no loss.</summary>
    /// <value>Default <see cref="LossPolicy.Fault"/>; for <see cref="Workers"/> that of <see cref="WorkersOptions.OnLoss"/>, unless it is set here, even to <see cref="LossPolicy.Fault"/>.</value>
    public LossPolicy OnLoss
    {
        get;
        init
        {
            field = value;
            IsOnLossSet = true;
        }
    } = LossPolicy.Fault;

    /// <summary>Whether <see cref="OnLoss"/> was chosen: the default of workers is another.</summary>
    internal bool IsOnLossSet { get; private init; }

    /// <summary>Whether a runnable may be made anew after a loss although what it remembered is gone.</summary>
    /// <value>Default <see cref="StateLoss.Refused"/>: <c>Build()</c> refuses a restart of a runnable. Delegates have no memory and need no consent.</value>
    public StateLoss StateLoss { get; init; } = StateLoss.Refused;

    /// <summary>How many processes the stage keeps started without user code, so that a restart takes one, after its back-off, instead of starting a process.</summary>
    /// <value>Default 0; from 0 to 64 for each stage. <c>Build()</c> refuses more than 0 unless <see cref="OnLoss"/> restarts children.</value>
    /// <remarks>They are started when the whole run has started, and replaced when they were taken. One that is lost, or does not start, harms nothing.</remarks>
    public int SpareChildren { get; init; }

    /// <summary>How long a child may take from its start, a spare one from when it is taken, until its stage has started (<c>OnStartAsync</c> included).</summary>
    /// <value>Default 30 seconds; must be positive.</value>
    public TimeSpan StartTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a child may give no sign of life at all (stopped, or frozen in native code that blocks the whole process) before it is killed as lost.</summary>
    /// <value>Default 30 seconds; must be positive, or <see cref="Timeout.InfiniteTimeSpan"/> for never. A handler that takes long is no hang: see <see cref="StageOptions.ItemTimeout"/>. Off for a child that starts while a debugger is attached to the parent.</value>
    public TimeSpan HangTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a child that was asked to end may take before it is terminated, and then killed with its process group.</summary>
    /// <value>Default 3 seconds; not negative. <see cref="PipelineOptions.AbortTimeout"/> ends the wait in any case.</value>
    public TimeSpan StopGrace { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>Variables that are set in the child's environment, on top of this process's own; a null value removes one.</summary>
    /// <value>Default empty.</value>
    public IReadOnlyDictionary<string, string?> Environment { get; init; } = new Dictionary<string, string?>();

    /// <summary>The most bytes that the child's managed heap may hold; beyond that it ends with an out-of-memory failure, which is a loss.</summary>
    /// <value>Default <see langword="null"/>: no limit of ours. At least 16 MiB.</value>
    public long? MemoryLimit { get; init; }

    /// <summary>The most bytes that the encoded form of one item or result may have; a longer one is an error of its item.</summary>
    /// <value>Default 256 MiB; from 1 KiB to 1 GiB. No memory is reserved for it.</value>
    public int MaxItemSize { get; init; } = 256 * 1024 * 1024;

    /// <summary>The directory in which the child runs.</summary>
    /// <value>Default <see langword="null"/>: that of this process.</value>
    public string? WorkingDirectory { get; init; }
}

/// <summary>The stage runs in this process behind the codec and framing of a child process.</summary>
public sealed record LoopbackPlacement : Placement
{
    internal LoopbackPlacement() { }
}

/// <summary>Whether a runnable may lose its memory in a restart.</summary>
public enum StateLoss
{
    /// <summary>It may not.</summary>
    Refused,

    /// <summary>It may: it keeps nothing that matters, or restores it in <c>OnStartAsync</c>.</summary>
    Accepted,
}
