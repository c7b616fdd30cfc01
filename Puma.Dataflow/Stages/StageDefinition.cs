using Puma.Dataflow.Isolation.Recipes;
using Puma.Dataflow.Lifecycle;

namespace Puma.Dataflow.Stages;

/// <summary>One stage as the user described it. Changes only while the chain is written; never once a pipeline was built.</summary>
internal sealed class StageDefinition(string kind, StageOptions options, Func<StageSetup, StageNode> create)
{
    public string Kind => kind;

    public StageOptions Options => options;

    /// <summary>Makes the stage for one run.</summary>
    public Func<StageSetup, StageNode> Create => create;

    /// <summary>What the stage reads, by port.</summary>
    public List<Edge> Inputs { get; } = [];

    /// <summary>What the stage writes, by port; null where nothing is connected yet.</summary>
    public List<Edge?> Outputs { get; } = [];

    /// <summary>How a chain was left unfinished here; null when it was not.</summary>
    public string? Unfinished { get; set; }

    /// <summary>The type of its items, if user code handles them one by one; such a stage may have an error policy and an item time-out.</summary>
    public Type? ItemType { get; init; }

    /// <summary>Whether there may be several instances.</summary>
    public bool AllowsParallelism { get; init; }

    /// <summary>Whether the stage has instances, which may have a thread of their own.</summary>
    public bool HasInstances { get; init; }

    /// <summary>Whether its instances are runnables, which tick.</summary>
    public bool HasTicks { get; init; }

    /// <summary>Whether it is an entry.</summary>
    public bool IsEntry { get; init; }

    public bool IsSource { get; init; }

    /// <summary>Whether branches can be attached to it while it runs.</summary>
    public bool IsBroadcast { get; init; }

    /// <summary>Whether every input makes exactly one output.</summary>
    public bool IsOneToOne { get; init; }

    /// <summary>The items that must fit into its input, for example a batch.</summary>
    public int LeastCapacity { get; init; } = 1;

    /// <summary>An object that serves one run only; null when everything is made anew for each run.</summary>
    public object? SingleUse { get; init; }

    /// <summary>What keeps a second run from starting: the object above, or a dead-letter target that the first run completes. Null when there is neither.</summary>
    public object? Instance => SingleUse ?? (options.ErrorPolicy.DeadLetterTarget is { IsSingleUse: true } target ? target.Key : null);

    /// <summary>Whether a run has taken <see cref="Instance"/>, for this definition and its copies.</summary>
    public UseMark UseMark { get; private init; } = new();

    /// <summary>Whether its outputs are an asynchronous stream, which cannot be taken back for a retry.</summary>
    public bool IsAsyncStream { get; init; }

    /// <summary>How its user code is made, when it can be made elsewhere; null for stages that only move items, and for foreign objects.</summary>
    public Recipe? Recipe { get; init; }

    /// <summary>The types of its items, which travel when it runs elsewhere.</summary>
    public IReadOnlyList<Type> CarriedItems { get; init; } = [];

    /// <summary>The types of its results, which travel back.</summary>
    public IReadOnlyList<Type> CarriedResults { get; init; } = [];

    /// <summary>Where its instances live: the pipeline's default is for stages whose user code can move, not for those that hold an object of this process to read.</summary>
    public Placement PlacementIn(PipelineOptions pipeline) =>
        options.Placement ?? (Recipe is null || (IsSource && Recipe.LocalOnly is not null) ? Placement.InProcess : pipeline.DefaultPlacement);

    /// <summary>What else is wrong with the stage; each text says what to do.</summary>
    public List<string> Problems { get; } = [];

    /// <summary>A copy without its edges.</summary>
    public StageDefinition Copy(StageOptions copyOptions) => new(kind, copyOptions, create)
    {
        ItemType = ItemType,
        AllowsParallelism = AllowsParallelism,
        HasInstances = HasInstances,
        HasTicks = HasTicks,
        IsEntry = IsEntry,
        IsSource = IsSource,
        IsBroadcast = IsBroadcast,
        IsOneToOne = IsOneToOne,
        LeastCapacity = LeastCapacity,
        SingleUse = SingleUse,
        UseMark = UseMark,
        IsAsyncStream = IsAsyncStream,
        Recipe = Recipe,
        CarriedItems = CarriedItems,
        CarriedResults = CarriedResults,
        Unfinished = Unfinished,
    };
}

/// <summary>Notes that something serves one run only. Any thread.</summary>
internal sealed class UseMark
{
    private int _isTaken;

    /// <returns>True for the first caller.</returns>
    public bool TryTake() => Interlocked.Exchange(ref _isTaken, 1) == 0;
}

/// <summary>The settings of a branch: of the edge that leads into it.</summary>
internal sealed record BranchSettings
{
    public string? Name { get; init; }

    public bool IsOptional { get; init; }

    public FullMode FullMode { get; init; }

    public int? Capacity { get; init; }
}
