using System.Collections.Concurrent;
using System.Globalization;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Scenarios.RandomGraphs;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>
/// Whatever the shape, the options, the failures and the moment of a stop: every run ends, every item is counted once, order is kept,
/// and the outcome is one that can be explained.
/// </summary>
/// <remarks>
/// <c>PUMA_GRAPHS</c> sets the number of graphs (2,000), <c>PUMA_GRAPH_FIRST</c> the first seed (1), and <c>PUMA_GRAPH_SEED</c> runs the
/// graph of one seed that many times: the graph depends on its seed only, its timing does not.
/// </remarks>
public sealed class RandomGraphTests : IAsyncLifetime
{
    private const int Blocks = 20;
    private const int AtOnce = 4;
    private const int MostShown = 3;

    private static readonly int Graphs = Setting("PUMA_GRAPHS") ?? 2000;
    private static readonly int? OneSeed = Setting("PUMA_GRAPH_SEED");
    private static readonly int FirstSeed = Setting("PUMA_GRAPH_FIRST") ?? 1;

    public static TheoryData<int> AllBlocks => [.. Enumerable.Range(0, Blocks)];

    public ValueTask InitializeAsync() => default;

    public ValueTask DisposeAsync()
    {
        UnobservedExceptions.AssertNone();
        return default;
    }

    [Theory] // S1, S5, S16, S17, S18, S30
    [MemberData(nameof(AllBlocks))]
    public async Task AnyGraph_WhateverHappens_EndsInBalance(int block)
    {
        int from = Graphs * block / Blocks, to = Graphs * (block + 1) / Blocks;
        var failures = new ConcurrentQueue<string>();
        await Parallel.ForEachAsync(
            Enumerable.Range(from, to - from),
            new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = TestContext.Current.CancellationToken },
            async (number, _) =>
            {
                // A run that hangs takes its whole limit, so a few failures are enough.
                if (failures.Count < MostShown && await GraphRun.TryAsync(OneSeed ?? FirstSeed + number) is { } failure)
                    failures.Enqueue(failure);
            });

        Assert.True(failures.IsEmpty, string.Join(Environment.NewLine, failures));
    }

    private static int? Setting(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : null;
}
