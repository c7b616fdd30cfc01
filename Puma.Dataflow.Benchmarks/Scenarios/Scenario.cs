namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>A piece of work that every subject does in its own way, in one run.</summary>
/// <param name="Name">Its name in the table.</param>
/// <param name="Capacity">The bound of each buffer; 0 where there is none.</param>
/// <param name="Items">How many items one run moves.</param>
/// <param name="Checksum">What each run must return for that many items.</param>
/// <param name="Subjects">Who does it.</param>
internal sealed record Scenario(string Name, int Capacity, int Items, Func<int, long> Checksum, IReadOnlyList<Subject> Subjects)
{
    public override string ToString() => $"{Name}@{Capacity}";
}

/// <summary>One way to do the work of a scenario.</summary>
/// <param name="Name">Its name in the table.</param>
/// <param name="RunAsync">Builds what it needs, moves so many items, and returns a checksum of what arrived.</param>
/// <param name="OneOf">It moves only one of so many items, because it takes so long for each.</param>
internal sealed record Subject(string Name, Func<int, Clock, Task<long>> RunAsync, int OneOf = 1)
{
    public Subject(string name, Func<int, Task<long>> runAsync)
        : this(name, (n, _) => runAsync(n))
    {
    }
}
