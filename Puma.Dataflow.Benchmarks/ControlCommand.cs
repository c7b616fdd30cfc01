using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;

namespace Puma.Dataflow.Benchmarks;

/// <summary>
/// How long does it take until a stop, a cancel, a command and a tick are seen by a stage whose input is flooded, and how many items does it
/// begin after it was told? How long is the way of a command to an idle stage and back, and how many can be given? In process and in a child.
/// </summary>
/// <remarks>Sensitive to the work of one item, which is the least anybody can wait, and to how many processors the child has for itself.</remarks>
internal static class ControlCommand
{
    private const int Capacity = 1024;
    private const int Rounds = 50;
    private const int Calls = 1000;

    /// <summary>S25.</summary>
    private const long PromisedItems = 1;

    private static readonly TimeSpan Lap = TimeSpan.FromSeconds(2);

    private static readonly PipelineOptions Quiet = new() { LoggerFactory = NullLoggerFactory.Instance, SlowCallWarning = Timeout.InfiniteTimeSpan };

    /// <returns>0 when nothing was seen later than after one more item, and every call had its own answer.</returns>
    public static async Task<int> RunAsync()
    {
        Console.WriteLine($"{Rounds} rounds each, one instance, capacity {Capacity}, an endless source");
        Console.WriteLine("what      where            median µs   longest µs   most items begun after it");
        bool isRight = await MeasureEndAsync("complete", static run => run.Complete(), waitFor: "source");
        isRight &= await MeasureEndAsync("cancel", static run => run.Cancel(), waitFor: "work");
        isRight &= await MeasureFloodAsync(Placement.InProcess);
        isRight &= await MeasureFloodAsync(Placement.ChildProcess);
        Console.WriteLine();
        Console.WriteLine($"commands to an idle stage: {Calls} one after the other, and as many as go in {Lap.TotalSeconds:0} s");
        Console.WriteLine("where            median µs   longest µs   1 caller /s   100 callers /s");
        foreach (Placement placement in (Placement[])[Placement.InProcess, Placement.Loopback, Placement.ChildProcess])
            isRight &= await MeasureIdleAsync(placement);
        Console.WriteLine(isRight ? "All correct." : "NOT correct, see above.");
        return isRight ? 0 : 1;
    }

    /// <summary>Floods a stage, tells the run something, and takes the time until the stage that has to see it has ended.</summary>
    private static async Task<bool> MeasureEndAsync(string what, Action<PipelineRun> tell, string waitFor)
    {
        var times = new List<double>();
        long mostAfter = 0;
        for (int round = 0; round < Rounds; round++)
        {
            long begun = 0;
            var isFlooded = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            await using PipelineRun run = Pipeline.From(Endless(), new() { Name = "source" })
                .ForEach(_ =>
                {
                    if (Interlocked.Increment(ref begun) == 2000)
                        isFlooded.SetResult();
                    ControlProbe.Spin();
                }, new() { Name = "work", BoundedCapacity = Capacity })
                .Build(Quiet)
                .Start();
            await isFlooded.Task;

            long told = Stopwatch.GetTimestamp();
            tell(run);
            long begunWhenTold = Interlocked.Read(ref begun);
            await run.Stage(waitFor).Completion.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            times.Add(Stopwatch.GetElapsedTime(told).TotalMicroseconds);
            if (waitFor == "work")
                mostAfter = Math.Max(mostAfter, Interlocked.Read(ref begun) - begunWhenTold);
        }

        return Print(what, Placement.InProcess, times, waitFor == "work" ? mostAfter : null, "(drains)");
    }

    /// <summary>Floods a stage, gives it commands, and looks at its ticks.</summary>
    private static async Task<bool> MeasureFloodAsync(Placement placement)
    {
        await using PipelineRun run = Pipeline.From(Endless(), new() { Name = "source" })
            .To(static () => new ControlProbe(), new() { Name = "work", BoundedCapacity = Capacity, TickInterval = ControlProbe.TickInterval, Placement = placement })
            .Build(Quiet)
            .Start();
        await run.Started;
        IProbe probe = run.Control<IProbe>("work");
        while (run.Snapshot().Stage("work").SlotsHeld < Capacity)
            await Task.Yield();
        await probe.NowAsync();

        List<double> times = [];
        for (int round = 0; round < Rounds; round++)
        {
            long told = Stopwatch.GetTimestamp();
            Moment ran = await probe.NowAsync();
            times.Add(Stopwatch.GetElapsedTime(told, ran.Timestamp).TotalMicroseconds);
        }

        bool isRight = Print("command", placement, times, await CountAfterAsync(probe), "");
        await probe.RestartTicksAsync();
        double[] late;
        do
            late = await probe.LatenessAsync();
        while (late.Length < Rounds);
        return isRight & Print("tick", placement, [.. late], null, "(one item at most)");
    }

    /// <summary>
    /// The most items that were begun between the arrival of a command and its run. An item stands at a gate meanwhile, which opens when the
    /// command has been sent; both come by one connection, in this order.
    /// </summary>
    private static async Task<long> CountAfterAsync(IProbe probe)
    {
        long most = 0;
        for (int round = 0; round < Rounds; round++)
        {
            var gate = new Gate();
            await probe.HoldNextAsync(gate);
            long begun = await gate.Arrived;
            ValueTask<Moment> asked = probe.NowAsync();
            gate.Open();
            most = Math.Max(most, (await asked).Begun - begun);
        }

        return most;
    }

    private static async Task<bool> MeasureIdleAsync(Placement placement)
    {
        await using PipelineRun<int> run = Pipeline.Accept<int>()
            .To(static () => new ControlProbe(), new() { Name = "work", Placement = placement })
            .Build(Quiet)
            .Start();
        IProbe probe = run.Control<IProbe>("work");
        List<double> times = [];
        bool isRight = true;
        for (int i = -Calls / 10; i < Calls; i++)
        {
            long begin = Stopwatch.GetTimestamp();
            isRight &= await probe.AddOneAsync(i) == i + 1;
            if (i >= 0)
                times.Add(Stopwatch.GetElapsedTime(begin).TotalMicroseconds);
        }

        times.Sort();
        (double one, bool isOneRight) = await RateAsync(probe, callers: 1);
        (double hundred, bool areAllRight) = await RateAsync(probe, callers: 100);
        isRight &= isOneRight & areAllRight;
        run.Complete();
        await run.Completion;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{NameOf(placement),-14} {times[times.Count / 2],11:0}   {times[^1],10:0}   {one,11:N0}   {hundred,14:N0}{(isRight ? "" : "   WRONG")}"));
        return isRight;
    }

    private static async Task<(double PerSecond, bool IsRight)> RateAsync(IProbe probe, int callers)
    {
        long begin = Stopwatch.GetTimestamp();
        (int Count, bool IsRight)[] done = await Task.WhenAll(Enumerable.Range(0, callers).Select(caller => Task.Run(async () =>
        {
            int count = 0;
            bool isRight = true;
            for (; Stopwatch.GetElapsedTime(begin) < Lap; count++)
                isRight &= await probe.AddOneAsync((caller << 24) + count) == (caller << 24) + count + 1;
            return (count, isRight);
        })));
        return (done.Sum(static d => d.Count) / Stopwatch.GetElapsedTime(begin).TotalSeconds, done.All(static d => d.IsRight));
    }

    /// <param name="what">What the stage was told.</param>
    /// <param name="placement">Where it lives.</param>
    /// <param name="times">How long it took each time.</param>
    /// <param name="after">How many items it began at most after it was told; null when that is not counted.</param>
    /// <param name="instead">What is printed then.</param>
    private static bool Print(string what, Placement placement, List<double> times, long? after, string instead)
    {
        times.Sort();
        bool isRight = after is not > PromisedItems;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,-8}  {NameOf(placement),-14} {times[times.Count / 2],11:0}   {times[^1],10:0}   {after?.ToString(CultureInfo.InvariantCulture) ?? instead}{(isRight ? "" : "   WRONG")}"));
        return isRight;
    }

    private static string NameOf(Placement placement) => placement switch
    {
        InProcessPlacement => "in process",
        LoopbackPlacement => "loopback",
        _ => "child process",
    };

    private static IEnumerable<int> Endless()
    {
        for (int i = 0; ; i++)
            yield return i;
    }
}
