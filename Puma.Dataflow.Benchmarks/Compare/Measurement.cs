using System.Diagnostics;
using Puma.Dataflow.Benchmarks.Scenarios;

namespace Puma.Dataflow.Benchmarks.Compare;

/// <summary>
/// Runs the subjects of a scenario in turn, round after round, so that all of them meet the same moods of the machine. What is told is the
/// median over the rounds; a ratio is taken within each round first.
/// </summary>
internal static class Measurement
{
    private static readonly TimeSpan s_warmUp = TimeSpan.FromMilliseconds(300);

    /// <summary>So many items move before it is known how long they take.</summary>
    private const int MostAtFirst = 1_000_000;

    private static readonly HashSet<string> s_seen = [];

    /// <returns>One row for each subject.</returns>
    /// <exception cref="InvalidOperationException">A subject lost or changed an item.</exception>
    public static async Task<IReadOnlyList<Row>> MeasureAsync(Scenario scenario, int rounds)
    {
        var nanoseconds = scenario.Subjects.ToDictionary(static s => s.Name, _ => new double[rounds]);
        var bytes = scenario.Subjects.ToDictionary(static s => s.Name, _ => new double[rounds]);
        Dictionary<string, int> items = [];
        int warmUps = !s_seen.Add(scenario.Name) ? 1 : s_seen.Count == 1 ? 6 : 3;
        foreach (Subject subject in scenario.Subjects)
        {
            int most = Math.Max(1, scenario.Items / subject.OneOf), next = Math.Clamp(most / 10, 1, MostAtFirst);

            // Until the compiler has seen what is worth to be compiled again, and better, which takes longer for a pipeline of a new shape, and
            // longest for the first one.
            long begin = Stopwatch.GetTimestamp();
            for (int runs = 0; runs < 2 || Stopwatch.GetElapsedTime(begin) < warmUps * s_warmUp; runs++)
            {
                double perItem = (await RunAsync(scenario, subject, next)).Nanoseconds;
                next = (int)Math.Clamp(scenario.LongestRun.TotalNanoseconds / perItem, 1, most);
            }

            items[subject.Name] = next;
        }

        for (int round = 0; round < rounds; round++)
        {
            foreach (Subject subject in scenario.Subjects)
                (nanoseconds[subject.Name][round], bytes[subject.Name][round]) = await RunAsync(scenario, subject, items[subject.Name]);
        }

        double? RatioTo(string other, string subject) =>
            nanoseconds.TryGetValue(other, out double[]? theirs) ? Median(theirs.Zip(nanoseconds[subject], static (t, s) => t / s)) : null;
        string limit = nanoseconds.ContainsKey("socket") ? "socket" : "loop";
        return
        [
            .. scenario.Subjects.Select(s => new Row(
                scenario.Name,
                scenario.Capacity,
                s.Name,
                1e9 / Median(nanoseconds[s.Name]),
                Median(nanoseconds[s.Name]),
                Median(bytes[s.Name]),
                RatioTo("tpl", s.Name),
                RatioTo(limit, s.Name)))
        ];
    }

    private static async Task<(double Nanoseconds, double Bytes)> RunAsync(Scenario scenario, Subject subject, int items)
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        var clock = new Clock();
        long sum = await Task.Run(() => subject.RunAsync(items, clock));
        (double Nanoseconds, double Bytes) perItem = clock.Read(items);
        long expected = scenario.Checksum(items);
        if (sum != expected)
            throw new InvalidOperationException($"{subject.Name} returned {sum} instead of {expected} in {scenario.Name} at capacity {scenario.Capacity}: an item was lost or changed.");
        return perItem;
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }
}
