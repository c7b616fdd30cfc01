using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;

namespace Puma.Dataflow.Benchmarks;

/// <summary>
/// Does a pipeline lose an item when its children are killed at random moments? Sends numbered items through an entry, a stage in child
/// processes and a sink, kills children meanwhile, and counts everything without asking the library: each item by its number, processes
/// and files by the system. Ends with 0 when nothing was lost, doubled or left behind.
/// </summary>
internal static class ChaosCommand
{
    private const int MiddleCapacity = 64;
    private const int SinkCapacity = 16;

    /// <summary>The edge to a dead-letter target has the default capacity.</summary>
    private const int DeadLetterCapacity = 128;

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };
    private static readonly TimeSpan LastWait = TimeSpan.FromSeconds(5);

    public static async Task<int> RunAsync(string[] args)
    {
        ChaosArguments arguments;
        try
        {
            arguments = ChaosArguments.Parse(args);
        }
        catch (FormatException error)
        {
            Console.Error.WriteLine(error.Message);
            Console.Error.WriteLine(ChaosArguments.Usage);
            return 2;
        }

        // Whatever is made in this folder from here on is of the children's making.
        string temporary = Directory.CreateTempSubdirectory("chaos").FullName;
        Environment.SetEnvironmentVariable("TMPDIR", temporary);
        try
        {
            return await RunAsync(arguments, temporary);
        }
        finally
        {
            Directory.Delete(temporary, recursive: true);
        }
    }

    private static async Task<int> RunAsync(ChaosArguments arguments, string temporary)
    {
        string mark = Guid.NewGuid().ToString("N");
        var ledger = new ChaosLedger();
        var monkey = new ChaosMonkey(TimeSpan.FromSeconds(arguments.KillEvery), TimeSpan.FromSeconds(arguments.Seconds), mark);
        using var stop = new CancellationTokenSource();
        Task killing = monkey.RunAsync(stop.Token);
        var clock = Stopwatch.StartNew();
        int runs = 0;
        long next = 0;
        bool agrees = true;
        RunState state;
        do
        {
            (state, next, bool agreed) = await RunOnceAsync(arguments, mark, ledger, next, clock);
            agrees &= agreed;
            runs++;
        }
        while (clock.Elapsed.TotalSeconds < arguments.Seconds);
        await stop.CancelAsync();
        await killing;

        int orphans = monkey.Orphans();
        for (var waiting = Stopwatch.StartNew(); orphans > 0 && waiting.Elapsed < LastWait; orphans = monkey.Orphans())
            await Task.Delay(50);
        int zombies = ChaosMonkey.Zombies();
        int leftoverFiles = Directory.GetFileSystemEntries(temporary).Length;
        bool isBalanced = agrees && ledger.Accepted == ledger.Delivered + ledger.DeadLettered + ledger.Discarded + ledger.Failed && ledger is { Duplicates: 0, Missing: 0, Disorders: 0 };
        var result = new
        {
            accepted = ledger.Accepted,
            delivered = ledger.Delivered,
            deadLettered = ledger.DeadLettered,
            discarded = ledger.Discarded,
            failed = ledger.Failed,
            duplicates = ledger.Duplicates,
            missing = ledger.Missing,
            outOfOrder = ledger.Disorders,
            kills = monkey.Kills,
            restarts = monkey.Seen - (runs * arguments.Parallel),
            orphans,
            zombies,
            leftoverFiles,
            maxInFlight = ledger.MaxInFlight,
            capacity = MiddleCapacity + SinkCapacity + (arguments.Loss == "deadletter" ? DeadLetterCapacity : 0),
            runs,
            seconds = Math.Round(clock.Elapsed.TotalSeconds, 3),
            state = state.ToString(),
            balanced = isBalanced,
        };
        string json = JsonSerializer.Serialize(result, Indented);
        if (arguments.JsonPath is { } path)
            await File.WriteAllTextAsync(path, json + Environment.NewLine);
        Console.WriteLine(json);
        return isBalanced && orphans == 0 && zombies == 0 && leftoverFiles == 0 && result.maxInFlight <= result.capacity ? 0 : 1;
    }

    /// <summary>One run: until the time is up, or with <c>--loss fault</c> until the first loss.</summary>
    /// <returns>How it ended, the number of the next item, and whether the library's own numbers agree with what was seen.</returns>
    private static async Task<(RunState State, long Next, bool Agrees)> RunOnceAsync(ChaosArguments arguments, string mark, ChaosLedger ledger, long first, Stopwatch clock)
    {
        long deliveredBefore = ledger.Delivered, lettersBefore = ledger.DeadLettered;
        await using PipelineRun<long> run = Pipeline.Accept<long>(new() { Name = "entry" })
            .Transform(Work, new()
            {
                Name = "isolated",
                BoundedCapacity = MiddleCapacity,
                MaxDegreeOfParallelism = arguments.Parallel,
                Placement = Placement.ChildProcess with { OnLoss = LossOf(arguments.Loss), Environment = new Dictionary<string, string?> { ["PUMA_CHAOS_MARK"] = mark } },
                ErrorPolicy = arguments.Loss == "fault" ? ErrorPolicy.Fault : ErrorPolicy.DeadLetter((DeadLetter<long> letter, CancellationToken _) =>
                {
                    ledger.OnDeadLetter(letter.Item);
                    return default;
                }),
            })
            .ForEach(ledger.OnArrived, new() { Name = "sink", BoundedCapacity = SinkCapacity })
            .Build(new() { LoggerFactory = NullLoggerFactory.Instance, OnDiscarded = discarded => ledger.OnDiscarded((long)discarded.Item!) })
            .Start();

        long next = first;
        try
        {
            while (clock.Elapsed.TotalSeconds < arguments.Seconds)
            {
                await run.SendAsync(next);
                next++;
                ledger.OnAccepted();
            }
        }
        catch (PipelineClosedException)
        {
            // The run has faulted; its report says why.
        }

        run.Complete();
        PipelineReport report = await run.Report;
        if (report.Cause is { ItemNumber: { } number })
            ledger.OnFailed(first + number - 1);
        if (report.Cause is { } cause && arguments.Loss != "fault")
            Console.Error.WriteLine(cause.Message);
        ledger.Close(first, next);
        StageReport middle = report.Stage("isolated");
        bool agrees = report.Stage("sink").Delivered == ledger.Delivered - deliveredBefore && middle.DeadLettered == ledger.DeadLettered - lettersBefore && middle.Accepted == next - first;
        if (!agrees)
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"The report differs from what was seen: {next - first} accepted, {ledger.Delivered - deliveredBefore} arrived, {ledger.DeadLettered - lettersBefore} dead letters.{Environment.NewLine}{report}"));
        return (report.State, next, agrees);
    }

    private static LossPolicy LossOf(string name)
    {
        RestartPolicy restart = LossPolicy.Restart(max: 1_000_000, backoff: Backoff.None);
        return name switch
        {
            "replay" => restart.Replay(attempts: 1000),
            "deadletter" => restart.DeadLetter(),
            _ => LossPolicy.Fault,
        };
    }

    /// <summary>Long enough that a kill often hits an item in work.</summary>
    private static long Work(long item)
    {
        Thread.SpinWait(500);
        return item;
    }
}
