using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;
using NLog;
using NLog.Config;
using NLog.Targets;

namespace Puma.Dataflow.Benchmarks;

/// <summary>
/// What the one log bears: three children that log all they can to one file that rolls, children of children, a pause, a level that
/// changes, and a flood. Every line of every file is looked at.
/// </summary>
/// <remarks>Sensitive to the disk, and to how many processors the children have for themselves: the parent writes what all of them log.</remarks>
internal static partial class LogCommand
{
    private const int Recorders = 3;

    public static async Task<int> RunAsync(string[] arguments)
    {
        int records = 100_000, pause = 12, floodSeconds = 5;
        for (int i = 0; i + 1 < arguments.Length; i += 2)
        {
            int value = int.Parse(arguments[i + 1], CultureInfo.InvariantCulture);
            switch (arguments[i])
            {
                case "--records": records = value; break;
                case "--pause": pause = value; break;
                case "--flood": floodSeconds = value; break;
                default:
                    Console.Error.WriteLine("usage: log [--records N] [--pause SECONDS] [--flood SECONDS]");
                    return 2;
            }
        }

        bool isRight = await RecordsAsync(records, pause, generations: 1);
        isRight &= await RecordsAsync(records, pause: 0, generations: 3);
        isRight &= await LevelsAsync();
        isRight &= await FloodAsync(floodSeconds);
        Console.WriteLine(isRight ? "Everything is as it has to be." : "NOT as it has to be.");
        return isRight ? 0 : 1;
    }

    /// <summary>Every record once, whole, and in the order of its process.</summary>
    private static async Task<bool> RecordsAsync(int records, int pause, int generations)
    {
        string folder = Directory.CreateTempSubdirectory("log-").FullName;
        try
        {
            using var file = new FileTarget { FileName = Path.Combine(folder, "log.txt"), ArchiveAboveSize = 1_000_000, MaxArchiveFiles = -1, Layout = "${processid}|${level}|${message}" };
            Configure(new LoggingRule("Runnables.*", NLog.LogLevel.Info, file));
            long begin = Stopwatch.GetTimestamp();
            for (int half = 0; half < 2; half++)
            {
                await using PipelineRun run = Recorder(0).Merge(Recorder(1), Recorder(2)).ForEach(static _ => { }).Build(new() { Name = "log" }).Start();
                await run.Completion;
                if (half == 0)
                    await Task.Delay(TimeSpan.FromSeconds(pause));
            }

            TimeSpan took = Stopwatch.GetElapsedTime(begin) - TimeSpan.FromSeconds(pause);
            LogManager.Configuration = null;
            Dictionary<string, int> last = [];
            int lines = 0, bad = 0;
            foreach (string line in Directory.GetFiles(folder).Order(StringComparer.Ordinal).SelectMany(File.ReadLines))
            {
                lines++;
                Match match = Line().Match(line);
                string process = match.Groups[1].Value;
                if (!match.Success || int.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture) != last.GetValueOrDefault(process) + 1)
                    bad++;
                last[process] = last.GetValueOrDefault(process) + 1;
            }

            // Each process but the outermost logs its own half of the records.
            int expected = Recorders * generations * records;
            bool isRight = bad == 0 && lines == expected && last.Count == 2 * Recorders * generations && last.Values.All(n => n == records / 2);
            Console.WriteLine($"{Recorders} children, {generations} generation(s), {records:N0} records each, {pause} s pause: {lines:N0} of {expected:N0} lines in {Directory.GetFiles(folder).Length} files, {bad} torn or out of order, {lines / took.TotalSeconds:N0} records/s{(isRight ? "" : "  <- WRONG")}");
            return isRight;
        }
        finally
        {
            LogManager.Configuration = null;
            Directory.Delete(folder, recursive: true);
        }

        PipelineBuilder<NoInput, int> Recorder(int index) => Pipeline.From(static o => new Recorder(o), (generations, records / 2), new() { Name = $"recorder{index}", Placement = Placement.ChildProcess });
    }

    /// <summary>How soon a running child knows of a level.</summary>
    private static async Task<bool> LevelsAsync()
    {
        using var target = new MemoryTarget();
        var rule = new LoggingRule("*", NLog.LogLevel.Info, target);
        Configure(rule);
        var told = System.Threading.Channels.Channel.CreateUnbounded<bool>();
        await using PipelineRun<int> run = Pipeline.Accept<int>().Then(static () => new TellsDebug(), new() { Name = "levels", Placement = Placement.ChildProcess }).ForEach(x => told.Writer.TryWrite(x)).Build().Start();
        List<double> took = [];
        for (int i = 0; i < 10; i++)
        {
            bool isRaised = i % 2 == 0;
            await UntilAsync(!isRaised);
            rule.SetLoggingLevels(isRaised ? NLog.LogLevel.Debug : NLog.LogLevel.Info, NLog.LogLevel.Fatal);
            LogManager.ReconfigExistingLoggers();
            long begin = Stopwatch.GetTimestamp();
            await UntilAsync(isRaised);
            took.Add(Stopwatch.GetElapsedTime(begin).TotalMilliseconds);
        }

        run.Complete();
        await run.Completion;
        took.Sort();
        Console.WriteLine($"a level reaches a running child after {took[took.Count / 2]:N0} ms (median of {took.Count}; longest {took[^1]:N0})");
        return took[^1] < 1000;

        async Task UntilAsync(bool wanted)
        {
            do
                await run.SendAsync(1);
            while (await told.Reader.ReadAsync() != wanted);
        }
    }

    /// <summary>A million records in a second, for some seconds, while another stage's items go through.</summary>
    private static async Task<bool> FloodAsync(int seconds)
    {
        string folder = Directory.CreateTempSubdirectory("flood-").FullName;
        try
        {
            using var file = new FileTarget { FileName = Path.Combine(folder, "log.txt"), Layout = "${level}|${message}" };
            using var events = new MemoryTarget { Layout = "${message}" };
            Configure(new LoggingRule("Runnables.*", NLog.LogLevel.Debug, file), new LoggingRule("Puma.Dataflow.*", NLog.LogLevel.Warn, events));
            List<Flooded> seen = [];
            long before = Process.GetCurrentProcess().WorkingSet64, most = 0;
            await using (PipelineRun run = Pipeline.From(Enumerable.Range(1, int.MaxValue).TakeWhile(_ => seen.Count == 0 || seen[^1].Elapsed < TimeSpan.FromSeconds(seconds)), new() { Name = "items" })
                .Then(static () => new Floods(), new() { Name = "floods", Placement = Placement.ChildProcess, BoundedCapacity = 2 })
                .ForEach(x =>
                {
                    seen.Add(x);
                    using var self = Process.GetCurrentProcess();
                    most = Math.Max(most, self.WorkingSet64);
                })
                .Build(new() { Name = "flood" })
                .Start())
            {
                await run.Completion;
            }

            LogManager.Configuration = null;
            long logged = seen.Count * (long)Floods.Burst, written = 0, errors = 0;
            foreach (string line in File.ReadLines(Path.Combine(folder, "log.txt")))
                _ = line.StartsWith("Error", StringComparison.Ordinal) ? errors++ : written++;
            long dropped = events.Logs.Select(static l => Dropped().Match(l)).Where(static m => m.Success).Sum(static m => long.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture));
            double elapsed = seen[^1].Elapsed.TotalSeconds;
            bool isRight = written + dropped == logged && errors == seen.Count;
            Console.WriteLine($"flood: {logged:N0} debug records in {elapsed:N1} s ({logged / elapsed:N0}/s): {written:N0} written, {dropped:N0} dropped and counted in {events.Logs.Count} events; {errors:N0} of {seen.Count:N0} errors kept{(isRight ? "" : "  <- WRONG")}");
            Console.WriteLine($"       items {seen.Count / elapsed:N0}/s with {Floods.Burst:N0} records each; {seen[^1].Processor.TotalMicroseconds / logged:N2} us of processor time a record in the child; working set of the child {seen.Max(static s => s.WorkingSet) >> 20} MiB at most, of this process {before >> 20} before and {most >> 20} MiB at most");
            return isRight;
        }
        finally
        {
            LogManager.Configuration = null;
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Configure(params LoggingRule[] rules)
    {
        var configuration = new LoggingConfiguration();
        foreach (LoggingRule rule in rules)
            configuration.LoggingRules.Add(rule);
        LogManager.Configuration = configuration;
    }

    [GeneratedRegex(@"^(\d+)\|Info\|record n=(\d+) of what a recorder has to say$")]
    private static partial Regex Line();

    [GeneratedRegex(@": (\d+) log records of level")]
    private static partial Regex Dropped();

    /// <summary>Logs its records; then its child does.</summary>
    private sealed class Recorder((int Generations, int Records) options) : SourceRunnable<int>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            for (int n = 1; n <= options.Records; n++)
                Context.Logger.LogInformation("record n={Number} of what a recorder has to say", n);
            if (options.Generations > 1)
            {
                await using PipelineRun run = Pipeline
                    .From(static o => new Recorder(o), (options.Generations - 1, options.Records), new() { Name = "recorder", Placement = Placement.ChildProcess })
                    .ForEach(static _ => { })
                    .Build(new() { Name = "log" })
                    .Start(stopToken);
                await run.Completion;
            }

            await EmitAsync(options.Records, stopToken);
        }
    }

    private sealed class TellsDebug : Runnable<int, bool>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => EmitAsync(Context.Logger.IsEnabled(Microsoft.Extensions.Logging.LogLevel.Debug), cancellationToken);
    }

    private sealed record Flooded(TimeSpan Elapsed, TimeSpan Processor, long WorkingSet);

    /// <summary>Logs a burst for each item, and one error.</summary>
    private sealed class Floods : Runnable<int, Flooded>
    {
        public const int Burst = 10_000;

        private readonly long _begin = Stopwatch.GetTimestamp();
        private readonly TimeSpan _processor = Environment.CpuUsage.TotalTime;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            for (int n = 1; n <= Burst; n++)
                Context.Logger.LogDebug("item {Item}, record {Number}", item, n);
            Context.Logger.LogError("item {Item}", item);
            using var self = Process.GetCurrentProcess();
            return EmitAsync(new Flooded(Stopwatch.GetElapsedTime(_begin), Environment.CpuUsage.TotalTime - _processor, self.WorkingSet64), cancellationToken);
        }
    }
}
