using System.Diagnostics;
using System.Globalization;

namespace Puma.Dataflow.Benchmarks;

/// <summary>
/// How long does it take until a stop, a cancel and a tick are seen by a stage whose input is flooded? Prints the median and the longest
/// of many rounds, and how many items the stage began after it was told. Sensitive to the work of one item, which is the least anybody can wait.
/// </summary>
internal static class ControlCommand
{
    private const int Rounds = 50;

    public static async Task RunAsync()
    {
        Console.WriteLine($"{Rounds} rounds each, one instance, capacity 1024, an endless source");
        Console.WriteLine("what      median µs   longest µs   most items begun after it");
        await MeasureAsync("complete", static run => run.Complete(), waitFor: "source");
        await MeasureAsync("cancel", static run => run.Cancel(), waitFor: "work");
        await MeasureTicksAsync();
    }

    /// <summary>Floods a stage, tells the run something, and takes the time until the stage that has to see it has ended.</summary>
    private static async Task MeasureAsync(string what, Action<PipelineRun> tell, string waitFor)
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
                    Spin();
                }, new() { Name = "work", BoundedCapacity = 1024 })
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

        Print(what, times, waitFor == "work" ? mostAfter.ToString(CultureInfo.InvariantCulture) : "(drains)");
    }

    /// <summary>Takes how late the ticks of a flooded stage are against their grid.</summary>
    private static async Task MeasureTicksAsync()
    {
        var probe = new TickProbe();
        await using PipelineRun run = Pipeline.From(Endless())
            .To(probe, new() { Name = "work", BoundedCapacity = 1024, TickInterval = TimeSpan.FromMilliseconds(5) })
            .Build(Quiet)
            .Start();
        await probe.Done.Task;
        Print("tick", [.. probe.Late], "(one item at most)");
    }

    private static void Print(string what, List<double> times, string after)
    {
        times.Sort();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,-8} {times[times.Count / 2],9:0}   {times[^1],10:0}   {after}"));
    }

    private static PipelineOptions Quiet => new() { LoggerFactory = Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance };

    private static IEnumerable<int> Endless()
    {
        for (int i = 0; ; i++)
            yield return i;
    }

    private static void Spin() => Thread.SpinWait(500);

    /// <summary>Notes how late its ticks are against their grid.</summary>
    private sealed class TickProbe : SinkRunnable<int>
    {
        private long _start;
        private int _ticks;

        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public List<double> Late { get; } = [];

        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            _start = Stopwatch.GetTimestamp();
            return default;
        }

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            Spin();
            return default;
        }

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
        {
            double elapsed = Stopwatch.GetElapsedTime(_start).TotalMicroseconds;
            Late.Add(elapsed % 5000);
            if (++_ticks == Rounds)
                Done.TrySetResult();
            return default;
        }
    }
}
