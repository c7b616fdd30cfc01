namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>A piece of work that every subject does in its own way, in one run.</summary>
/// <param name="Name">Its name in the table.</param>
/// <param name="Capacity">The bound of each buffer; 0 where there is none.</param>
/// <param name="Items">How many items one run moves at most. <c>compare</c> may have it move any smaller number.</param>
/// <param name="Checksum">What each run must return for that many items.</param>
/// <param name="Subjects">Who does it.</param>
internal sealed record Scenario(string Name, int Capacity, int Items, Func<int, long> Checksum, IReadOnlyList<Subject> Subjects)
{
    /// <summary>A run moves fewer items if it would take longer.</summary>
    public TimeSpan LongestRun { get; init; } = TimeSpan.FromMilliseconds(100);

    public override string ToString() => $"{Name}@{Capacity}";
}

/// <summary>One way to do the work of a scenario.</summary>
/// <param name="Name">Its name in the table.</param>
/// <param name="RunAsync">Builds what it needs, moves so many items, and returns a checksum of what arrived.</param>
/// <param name="OneOf">It moves at most one of so many items, because each takes it long.</param>
internal sealed record Subject(string Name, Func<int, Clock, Task<long>> RunAsync, int OneOf = 1)
{
    public Subject(string name, Func<int, Task<long>> runAsync)
        : this(name, (n, _) => runAsync(n))
    {
    }
}
