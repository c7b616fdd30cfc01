namespace Puma.Dataflow.Lifecycle;

/// <summary>
/// A branch as the place of a failure: one that may be lost alone, because it is optional, or because it has not joined the running
/// pipeline yet. Any thread; what is decided of a branch that wants to join is decided once.
/// </summary>
internal sealed class BranchScope
{
    private sealed record Decision(bool HasJoined, StageFaultedException? Failure);

    private static readonly Decision Joined = new(HasJoined: true, null);

    // Null while the branch is joining; first writer wins. The broadcast's stream joins it; a failing stage or the caller refuses it.
    private Decision? _decision;
    private int _isDetached;
    private volatile bool _hasEnded;

    private BranchScope(string name, BranchScope? parent, bool isOptional, Decision? decision) =>
        (Name, Parent, IsOptional, _decision) = (name, parent, isOptional, decision);

    public string Name { get; }

    /// <summary>The branch that this one is in.</summary>
    public BranchScope? Parent { get; }

    public bool IsOptional { get; }

    /// <summary>Whether it was lost after a failure of its own.</summary>
    public bool IsDetached => Volatile.Read(ref _isDetached) != 0;

    public bool IsJoining => Volatile.Read(ref _decision) is null;

    public bool HasJoined => Volatile.Read(ref _decision) is { HasJoined: true };

    public bool IsRefused => Volatile.Read(ref _decision) is { HasJoined: false };

    /// <summary>What kept it from joining, when that was a failure of its own.</summary>
    public StageFaultedException? Failure => Volatile.Read(ref _decision)?.Failure;

    /// <summary>Whether it was attached while the run went on, and everything in it is over: its names are free again.</summary>
    public bool HasEnded => _hasEnded;

    /// <summary>An optional branch of the pipeline as it was built.</summary>
    public static BranchScope Optional(string name, BranchScope? parent) => new(name, parent, isOptional: true, Joined);

    /// <summary>A branch that is being attached to a run.</summary>
    public static BranchScope Joining(string name, BranchScope? parent, bool isOptional) => new(name, parent, isOptional, decision: null);

    /// <summary>The innermost branch around a place that can be lost alone now; null when a failure there is one of the run.</summary>
    public static BranchScope? LosableAt(BranchScope? innermost)
    {
        BranchScope? scope = innermost;
        while (scope is not null && !scope.IsOptional && scope.HasJoined)
            scope = scope.Parent;
        return scope;
    }

    /// <summary>Whether something holds for one of the branches around a place.</summary>
    public static bool IsInAny(BranchScope? innermost, Func<BranchScope, bool> condition)
    {
        BranchScope? scope = innermost;
        while (scope is not null && !condition(scope))
            scope = scope.Parent;
        return scope is not null;
    }

    /// <summary>Whether this branch is another one, or is in it.</summary>
    public bool IsIn(BranchScope other) => IsInAny(this, scope => scope == other);

    /// <summary>Lets the branch join: from now on its failures count like those of other branches.</summary>
    /// <returns>False when it was refused.</returns>
    public bool TryJoin() => Interlocked.CompareExchange(ref _decision, Joined, null) is null;

    /// <summary>Keeps the branch from joining.</summary>
    /// <returns>True for the caller who did; false when it has joined, or was refused before.</returns>
    public bool TryRefuse(StageFaultedException? failure = null) =>
        Interlocked.CompareExchange(ref _decision, new Decision(HasJoined: false, failure), null) is null;

    /// <summary>Marks the branch as detached.</summary>
    /// <returns>True for the first caller.</returns>
    public bool TryDetach() => Interlocked.Exchange(ref _isDetached, 1) == 0;

    /// <summary>Notes that every stage of an attached branch has ended.</summary>
    public void NoteEnd() => _hasEnded = true;
}
