namespace Puma.Dataflow.Benchmarks.Compare;

/// <summary>A piece of work that every subject does in its own way, in one run.</summary>
/// <param name="Name">Its name in the table.</param>
/// <param name="Capacity">The bound of each buffer; 0 where there is none.</param>
/// <param name="Items">How many items one run moves.</param>
/// <param name="Checksum">What each run must return for that many items.</param>
/// <param name="Subjects">Who does it.</param>
internal sealed record Scenario(string Name, int Capacity, int Items, Func<int, long> Checksum, IReadOnlyList<Subject> Subjects);

/// <summary>One way to do the work of a scenario.</summary>
/// <param name="Name">Its name in the table.</param>
/// <param name="RunAsync">Builds what it needs, moves so many items, and returns a checksum of what arrived.</param>
internal sealed record Subject(string Name, Func<int, Task<long>> RunAsync);
