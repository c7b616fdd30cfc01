namespace Puma.Dataflow;

/// <summary>Says where the instances of a stage live. The choice changes neither the runnable nor the code around it.</summary>
public abstract record Placement
{
    private protected Placement() { }

    /// <summary>The stage runs in this process, on the thread pool (or on its own thread, see <see cref="StageOptions.OwnThread"/>). This is the default.</summary>
    public static InProcessPlacement InProcess { get; } = new();

    /// <summary>The stage runs in a child process. Not in this version: <c>Build()</c> refuses it.</summary>
    public static ChildProcessPlacement ChildProcess { get; } = new();

    /// <summary>The stage runs in this process behind the codec and framing of a child process. Not in this version: <c>Build()</c> refuses it.</summary>
    public static LoopbackPlacement Loopback { get; } = new();
}

/// <summary>The stage runs in this process.</summary>
public sealed record InProcessPlacement : Placement
{
    internal InProcessPlacement() { }
}

/// <summary>The stage runs in a child process.</summary>
public sealed record ChildProcessPlacement : Placement
{
    internal ChildProcessPlacement() { }

    /// <summary>How long a child may take until its stage has started.</summary>
    /// <value>Default 30 seconds; must be positive.</value>
    public TimeSpan StartTimeout { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>The stage runs in this process behind the codec and framing of a child process.</summary>
public sealed record LoopbackPlacement : Placement
{
    internal LoopbackPlacement() { }
}
