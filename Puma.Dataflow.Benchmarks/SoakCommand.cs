using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Puma.Dataflow.Tests.Scenarios.RandomGraphs;

namespace Puma.Dataflow.Benchmarks;

/// <summary>
/// Does any graph ever break a promise? Runs random graphs, those of the tests and more, until the time is up: each with its own shape,
/// options, failures and moment of a stop. Every run must end, count every item once and keep the order, and nobody may forget an exception.
/// </summary>
internal static class SoakCommand
{
    private const int AtOnce = 4;
    private const int MostShown = 5;

    /// <param name="arguments"><c>--minutes M</c> says how long (default 10), <c>--first SEED</c> where to begin (default: another place each time).</param>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(string[] arguments)
    {
        double minutes = 10;
        int first = Random.Shared.Next(1_000_000, 1_000_000_000);
        for (int i = 0; i < arguments.Length; i += 2)
        {
            string value = i + 1 < arguments.Length ? arguments[i + 1] : "";
            switch (arguments[i])
            {
                case "--minutes" when double.TryParse(value, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out minutes) && minutes > 0:
                    break;
                case "--first" when int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out first):
                    break;
                default:
                    Console.Error.WriteLine("Usage: soak [--minutes M] [--first SEED]");
                    return 2;
            }
        }

        var failures = new ConcurrentQueue<string>();
        TaskScheduler.UnobservedTaskException += (_, e) => failures.Enqueue($"Nobody looked at an exception of a task: {e.Exception}");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Random graphs from seed {first} on, for {minutes} minutes, {AtOnce} at once."));
        long begin = Stopwatch.GetTimestamp();
        TimeSpan limit = TimeSpan.FromMinutes(minutes);
        int last = first - 1;
        Task telling = TellAsync();
        await Task.WhenAll(Enumerable.Range(0, AtOnce).Select(_ => Task.Run(async () =>
        {
            while (Stopwatch.GetElapsedTime(begin) < limit && failures.Count < MostShown)
            {
                if (await GraphRun.TryAsync(Interlocked.Increment(ref last)) is { } failure)
                    failures.Enqueue(failure);
            }
        })));
        await telling;
        foreach (string failure in failures)
            Console.WriteLine(failure);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{last - first + 1:N0} graphs, {failures.Count} violations."));
        return failures.IsEmpty ? 0 : 1;

        async Task TellAsync()
        {
            for (int minute = 1; minute < minutes && failures.Count < MostShown; minute++)
            {
                TimeSpan rest = TimeSpan.FromMinutes(minute) - Stopwatch.GetElapsedTime(begin);
                await Task.Delay(rest > TimeSpan.Zero ? rest : TimeSpan.Zero);
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{minute,3} min: {last - first + 1,9:N0} graphs, {failures.Count} violations, {GC.GetTotalMemory(true) / 1_000_000.0:N1} MB"));
            }
        }
    }
}
