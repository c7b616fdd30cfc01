using System.Diagnostics;
using System.Globalization;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks;

/// <summary>
/// Does the cost of a pipeline grow with its size, and no faster? Stages, branches, pipelines and children: the time to build, to start, and
/// to finish once the items are through, the memory of each, and the threads. Sensitive to everything that is done for each stage against all others.
/// </summary>
internal static class ScaleCommand
{
    /// <summary>The cost of a stage among 1,000 is at most so many times that of one among 10.</summary>
    private const double MostGrowth = 2;

    private const int Rounds = 7;
    private const int Items = 100;

    /// <returns>0 when the cost of a stage does not grow.</returns>
    public static async Task<int> RunAsync()
    {
        bool isRight = await MeasureAsync("stages", [1, 10, 100, 1000], Stages);
        isRight &= await MeasureAsync("branches", [1, 10, 100, 1000], Branches);
        isRight &= await MeasureAsync("pipelines", [1, 10, 100, 1000], static _ => Stages(1), static n => n);
        await MeasureAsync("children", [0, 1, 2, 4, 8], ChildStages, warmUps: 0, rounds: 3);
        Console.WriteLine(isRight ? "Linear." : "NOT linear, see above.");
        return isRight ? 0 : 1;
    }

    private static Pipeline<int> Stages(int n)
    {
        PipelineBuilder<int, int> chain = Pipeline.Accept<int>();
        for (int i = 0; i < n; i++)
            chain = chain.Transform(static x => x);
        return chain.ForEach(static _ => { }).Build(Quiet.Options);
    }

    private static Pipeline<int> Branches(int n) =>
        Pipeline.Accept<int>()
            .Broadcast([.. Enumerable.Range(0, n).Select(static _ => (Func<BranchBuilder<int>, PipelineEnd<BranchInput>>)(static b => b.ForEach(static _ => { })))])
            .Build(Quiet.Options);

    private static Pipeline<int> ChildStages(int n)
    {
        PipelineBuilder<int, int> chain = Pipeline.Accept<int>();
        for (int i = 0; i < n; i++)
            chain = chain.Transform(static x => x, new() { Placement = Placement.ChildProcess });
        return chain.ForEach(static _ => { }).Build(Quiet.Options);
    }

    /// <param name="what">What there are many of.</param>
    /// <param name="counts">How many.</param>
    /// <param name="build">Builds one pipeline.</param>
    /// <param name="pipelinesOf">How many pipelines run at once.</param>
    /// <param name="warmUps">Rounds that are not counted.</param>
    /// <param name="rounds">Rounds of which the median is taken.</param>
    private static async Task<bool> MeasureAsync(string what, int[] counts, Func<int, Pipeline<int>> build, Func<int, int>? pipelinesOf = null, int warmUps = 3, int rounds = Rounds)
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,10} {"build us",12} {"start us",12} {"finish us",12} {"us of each",12} {"bytes of each",14} {"threads",8}"));
        Dictionary<int, double> costs = [];
        foreach (int count in counts)
        {
            List<Cost> seen = [];
            for (int round = -warmUps; round < rounds; round++)
            {
                Cost cost = await RunAsync(() => build(count), pipelinesOf?.Invoke(count) ?? 1);
                if (round >= 0)
                    seen.Add(cost);
            }

            var median = new Cost(Median(seen, static c => c.Build), Median(seen, static c => c.Start), Median(seen, static c => c.Finish), Median(seen, static c => c.Bytes), seen.Max(static c => c.Threads));
            int each = Math.Max(1, count);
            costs[count] = (median.Build + median.Start + median.Finish) / each;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{count,10} {median.Build,12:N0} {median.Start,12:N0} {median.Finish,12:N0} {costs[count],12:N1} {median.Bytes / each,14:N0} {median.Threads,8}"));
        }

        if (!costs.TryGetValue(10, out double few) || !costs.TryGetValue(1000, out double many))
            return true;
        bool isRight = many <= MostGrowth * few;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"           one of 1,000 costs {many / few:0.00} times one of 10{(isRight ? "" : "   TOO MUCH")}"));
        return isRight;
    }

    private static async Task<Cost> RunAsync(Func<Pipeline<int>> build, int pipelines)
    {
        // What threads keep of the last run is then of one that has no size.
        await FinishAsync(Stages(0).Start());
        GC.Collect();
        GC.WaitForPendingFinalizers();
        long bytes = GC.GetTotalMemory(forceFullCollection: true);
        long begin = Stopwatch.GetTimestamp();
        Pipeline<int>[] built = [.. Enumerable.Range(0, pipelines).Select(_ => build())];
        double buildTime = Stopwatch.GetElapsedTime(begin).TotalMicroseconds;
        begin = Stopwatch.GetTimestamp();
        PipelineRun<int>[] runs = [.. built.Select(static p => p.Start())];
        await Task.WhenAll(runs.Select(static r => r.Started));
        double startTime = Stopwatch.GetElapsedTime(begin).TotalMicroseconds;
        long held = GC.GetTotalMemory(forceFullCollection: true) - bytes;
        int threads = Process.GetCurrentProcess().Threads.Count;
        begin = Stopwatch.GetTimestamp();
        await Task.WhenAll(runs.Select(FinishAsync));
        double finishTime = Stopwatch.GetElapsedTime(begin).TotalMicroseconds;
        foreach (PipelineRun<int> run in runs)
            await run.DisposeAsync();
        GC.KeepAlive(built);
        return new Cost(buildTime, startTime, finishTime, held, threads);
    }

    private static async Task FinishAsync(PipelineRun<int> run)
    {
        for (int i = 0; i < Items; i++)
            await run.SendAsync(i);
        run.Complete();
        await run.Completion;
    }

    private static double Median(List<Cost> costs, Func<Cost, double> part)
    {
        double[] sorted = [.. costs.Select(part).Order()];
        return sorted[sorted.Length / 2];
    }

    /// <summary>Times in microseconds.</summary>
    private sealed record Cost(double Build, double Start, double Finish, double Bytes, int Threads);
}
