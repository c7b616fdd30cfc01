using System.Collections.Concurrent;
using System.Globalization;
using Puma.Dataflow.Tests.Scenarios.RandomGraphs;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>The promises of any graph hold wherever its stages run, each in a placement of its own.</summary>
/// <remarks>
/// <c>PUMA_PLACED_GRAPHS</c> sets the number of graphs per placement, <c>PUMA_GRAPH_FIRST</c> the first seed (1), and
/// <c>PUMA_GRAPH_SEED</c> runs the graph of one seed that many times.
/// </remarks>
public sealed class PlacedGraphTests : ChildTest
{
    private const int AtOnce = 4;
    private const int MostShown = 3;
    private const int MostChildrenOfAStage = 2;

    private static readonly int? Graphs = Setting("PUMA_PLACED_GRAPHS");
    private static readonly int? OneSeed = Setting("PUMA_GRAPH_SEED");
    private static readonly int FirstSeed = Setting("PUMA_GRAPH_FIRST") ?? 1;

    [Fact] // S1, S5, S16, S17, S18, S30, S31
    public Task AnyGraph_InLoopback_EndsInBalance() => TryAllAsync(Graphs ?? 400, static (_, _) => Placement.Loopback);

    [Fact] // S1, S5, S16, S17, S18, S30, S31
    public Task AnyGraph_WithMixedPlacements_EndsInBalance() => TryAllAsync(Graphs ?? 40, static (seed, work) => Mixing.Small(Mixing.Mix(seed, work.Id), 4) switch
    {
        0 => Placement.InProcess,
        1 => Placement.Loopback,
        _ => work.Parallelism > MostChildrenOfAStage ? Placement.Loopback : Placement.ChildProcess,
    });

    private static async Task TryAllAsync(int graphs, Func<int, Work, Placement> pick)
    {
        var failures = new ConcurrentQueue<string>();
        await Parallel.ForEachAsync(
            Enumerable.Range(0, graphs),
            new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = TestToken },
            async (number, _) =>
            {
                int seed = OneSeed ?? FirstSeed + number;
                if (failures.Count < MostShown && await GraphRun.TryAsync(seed, work => pick(seed, work)) is { } failure)
                    failures.Enqueue(failure);
            });

        Assert.True(failures.IsEmpty, string.Join(Environment.NewLine, failures));
    }

    private static int? Setting(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : null;
}
