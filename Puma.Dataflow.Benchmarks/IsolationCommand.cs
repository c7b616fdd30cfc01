using System.Diagnostics;
using System.Globalization;
using System.Threading.Channels;
using Microsoft.Extensions.Logging.Abstractions;

namespace Puma.Dataflow.Benchmarks;

/// <summary>
/// What does a process border cost? Prints the rates of small records and of large frames with no, one and three borders, as ratios to the
/// same pipeline in this process, the most memory that was alive, how soon the death of a child is known, how soon another works in its place, and how soon a child ends whose parent was killed.
/// </summary>
internal static class IsolationCommand
{
    private const int Records = 1_000_000;
    private const int Frames = 200;
    private const int FrameBytes = 6 * 1024 * 1024;
    private const int FrameCapacity = 4;
    private const int Deaths = 30;

    private const int Orphans = 10;

    /// <summary>S37.</summary>
    private const double PromisedMilliseconds = 1000;

    /// <summary>S39.</summary>
    private const double PromisedToOrphans = 5000;

    private static readonly PipelineOptions Quiet = new() { LoggerFactory = NullLoggerFactory.Instance };

    /// <returns>0 when everything arrived, memory stayed within its bound, every death was known in time and no child outlived its parent for long.</returns>
    public static async Task<int> RunAsync()
    {
        bool isRight = await MeasureRecordsAsync();
        isRight &= await MeasureFramesAsync();
        isRight &= await MeasureDeathsAsync();
        await MeasureRestartsAsync(spares: 0);
        await MeasureRestartsAsync(spares: 1);
        isRight &= await MeasureOrphansAsync();
        Console.WriteLine(isRight ? "All correct." : "NOT correct, see above.");
        return isRight ? 0 : 1;
    }

    private static async Task<bool> MeasureRecordsAsync()
    {
        Console.WriteLine($"{Records:N0} small records, capacity 1024");
        Console.WriteLine("stages  placement        records/s   times in process");
        bool isRight = true;
        foreach (int stages in (int[])[1, 3])
        {
            double inProcess = 0;
            foreach (Placement placement in (Placement[])[Placement.InProcess, Placement.Loopback, Placement.ChildProcess])
            {
                (double seconds, bool isCorrect) = await RunRecordsAsync(stages, placement);
                if (placement is InProcessPlacement)
                    inProcess = seconds;
                isRight &= isCorrect;
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{stages,6}  {NameOf(placement),-14} {Records / seconds,11:N0}   {seconds / inProcess,16:0.0}{(isCorrect ? "" : "   WRONG")}"));
            }
        }

        return isRight;
    }

    private static async Task<(double Seconds, bool IsCorrect)> RunRecordsAsync(int stages, Placement placement)
    {
        long next = 0, disorders = 0;
        PipelineBuilder<NoInput, Reading> builder = Pipeline.From(Readings(), new() { Name = "source" });
        for (int i = 0; i < stages; i++)
            builder = builder.Transform(static r => r with { Hops = r.Hops + 1 }, new() { Name = $"hop{i}", BoundedCapacity = 1024, Placement = placement });
        await using PipelineRun run = builder
            .ForEach(r => disorders += r.Number == next++ && r.Hops == stages ? 0 : 1, new() { Name = "sink", BoundedCapacity = 1024 })
            .Build(Quiet)
            .Start();
        await run.Started; // the start of a process is no matter of the rate
        long begin = Stopwatch.GetTimestamp();
        await run.Completion;
        return (Stopwatch.GetElapsedTime(begin).TotalSeconds, next == Records && disorders == 0);
    }

    private static async Task<bool> MeasureFramesAsync()
    {
        Console.WriteLine();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Frames} frames of {FrameBytes / 1024 / 1024} MiB there and back, capacity {FrameCapacity} at the stage and at the sink"));
        bool isRight = true;
        foreach (Placement placement in (Placement[])[Placement.InProcess, Placement.Loopback, Placement.ChildProcess])
        {
            long seen = 0, wrong = 0, most = 0;
            long before = GC.GetTotalMemory(forceFullCollection: true);
            long begin = Stopwatch.GetTimestamp();
            await using (PipelineRun run = Pipeline.From(MakeFrames(), new() { Name = "source" })
                .Transform(static frame => frame.Turn(), new() { Name = "turn", BoundedCapacity = FrameCapacity, Placement = placement })
                .ForEach(
                    frame =>
                    {
                        wrong += frame.IsTurned(seen++) ? 0 : 1;
                        if (seen % 20 == 0)
                            most = Math.Max(most, GC.GetTotalMemory(forceFullCollection: true) - before);
                    },
                    new() { Name = "sink", BoundedCapacity = FrameCapacity })
                .Build(Quiet)
                .Start())
            {
                await run.Completion;
            }

            // A full line holds exactly the slots of both links and the frame that the source waits with. A border adds the frame that is being
            // sent, the one that is being received, and its decoded copy while that waits for a slot; with the other end in this process also
            // that end's: the frame received, its decoded copy in work, and the result being sent.
            int bound = 1 + (2 * FrameCapacity) + (placement switch { InProcessPlacement => 0, LoopbackPlacement => 6, _ => 3 });

            // In whole frames, because the heap holds more than frames: the run itself, headers, and the parts of frames in buffers that are passed on in pieces.
            bool isCorrect = seen == Frames && wrong == 0 && most / FrameBytes <= bound;
            isRight &= isCorrect;
            double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{NameOf(placement),-14} {Frames / seconds,7:0} frames/s   alive at most {(double)most / FrameBytes,5:0.000} frames of {bound}{(isCorrect ? "" : "   WRONG")}"));
        }

        return isRight;
    }

    private static async Task<bool> MeasureDeathsAsync()
    {
        List<double> times = [];
        for (int i = 0; i < Deaths; i++)
        {
            await using PipelineRun<int> run = Pipeline.Accept<int>()
                .Transform(static x => { Thread.Sleep(Timeout.Infinite); return x; }, new() { Name = "stuck", Placement = Placement.ChildProcess })
                .ForEach(static _ => { })
                .Build(Quiet)
                .Start();
            await run.Started;
            await run.SendAsync(1);
            int child = int.Parse((await File.ReadAllTextAsync("/proc/self/task/" + StarterThread() + "/children")).Trim(), CultureInfo.InvariantCulture);
            using var process = Process.GetProcessById(child);
            long begin = Stopwatch.GetTimestamp();
            process.Kill();
            await run.Completion.ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            times.Add(Stopwatch.GetElapsedTime(begin).TotalMilliseconds);
        }

        times.Sort();
        bool isInTime = times[^1] < PromisedMilliseconds;
        Console.WriteLine();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Deaths} children killed in a handler: known, and the run ended, after {times[times.Count / 2]:0} ms (median), {times[^1]:0} ms (longest){(isInTime ? "" : "   TOO LATE")}"));
        return isInTime;
    }

    /// <summary>From the kill of an idle child until the next one has handled an item.</summary>
    private static async Task MeasureRestartsAsync(int spares)
    {
        List<double> times = [];
        var told = Channel.CreateUnbounded<int>();
        await using PipelineRun<int> run = Pipeline.Accept<int>()
            .Transform(static _ => Environment.ProcessId, new() { Name = "killed", Placement = Placement.ChildProcess with { OnLoss = LossPolicy.Restart(max: Deaths, backoff: Backoff.None), SpareChildren = spares } })
            .ForEach(child => told.Writer.TryWrite(child))
            .Build(Quiet)
            .Start();
        await run.SendAsync(0);
        int child = await told.Reader.ReadAsync();
        for (int i = 0; i < Deaths; i++)
        {
            // Some time after the last death, when a spare child is there again.
            await Task.Delay(TimeSpan.FromSeconds(1));
            using var process = Process.GetProcessById(child);
            long begin = Stopwatch.GetTimestamp();
            process.Kill();
            await run.SendAsync(0);
            child = await told.Reader.ReadAsync();
            times.Add(Stopwatch.GetElapsedTime(begin).TotalMilliseconds);
        }

        await Task.Delay(TimeSpan.FromSeconds(1));
        long memory = Children().Where(c => c != child).Sum(Memory);
        times.Sort();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Deaths} children killed, with {spares} spare: another had handled an item after {times[times.Count / 2]:0} ms (median), {times[^1]:0} ms (longest){(spares == 0 ? "" : $"; a spare child has {memory / 1024.0:0} MiB of its own")}"));
    }

    private static IEnumerable<int> Children() => Directory.GetDirectories("/proc/self/task")
        .SelectMany(static task => File.ReadAllText(task + "/children").Split(' ', StringSplitOptions.RemoveEmptyEntries))
        .Select(static id => int.Parse(id, CultureInfo.InvariantCulture));

    /// <summary>The memory in KiB that a process shares with no other.</summary>
    private static long Memory(int process) => File.ReadLines($"/proc/{process}/smaps_rollup")
        .Where(static line => line.StartsWith("Private_", StringComparison.Ordinal))
        .Sum(static line => long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture));

    private static async Task<bool> MeasureOrphansAsync()
    {
        List<double> times = [];
        for (int i = 0; i < Orphans; i++)
        {
            var start = new ProcessStartInfo(Environment.ProcessPath!, ["isolation", "as-parent"]) { RedirectStandardOutput = true };
            if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
                start.ArgumentList.Insert(0, typeof(IsolationCommand).Assembly.Location);
            using Process parent = Process.Start(start)!;
            string child = (await parent.StandardOutput.ReadLineAsync())!;
            long begin = Stopwatch.GetTimestamp();
            parent.Kill();
            while (IsAlive(child))
                await Task.Delay(1);
            times.Add(Stopwatch.GetElapsedTime(begin).TotalMilliseconds);
        }

        times.Sort();
        bool isInTime = times[^1] < PromisedToOrphans;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Orphans} parents killed: their children had ended after {times[times.Count / 2]:0} ms (median), {times[^1]:0} ms (longest){(isInTime ? "" : "   TOO LATE")}"));
        return isInTime;
    }

    /// <summary>Whether a process is there and no zombie: whoever has taken it in may take its time to reap it.</summary>
    private static bool IsAlive(string process)
    {
        try
        {
            return !File.ReadAllText($"/proc/{process}/stat").Contains(") Z ", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>A program that has a child, tells its id, and waits to be killed.</summary>
    public static async Task<int> RunParentAsync()
    {
        await using PipelineRun<int> run = Pipeline.Accept<int>()
            .Transform(static _ => Environment.ProcessId, new() { Placement = Placement.ChildProcess })
            .ForEach(static child => Console.WriteLine(child))
            .Build(Quiet)
            .Start();
        await run.SendAsync(1);
        await run.Completion;
        return 0;
    }

    /// <summary>The thread of this process that has children.</summary>
    private static string StarterThread() =>
        Directory.GetDirectories("/proc/self/task").Select(Path.GetFileName).First(static t => File.ReadAllText($"/proc/self/task/{t}/children").Length > 0)!;

    private static IEnumerable<Reading> Readings()
    {
        for (int i = 0; i < Records; i++)
            yield return new Reading(i, i % 16, i * 0.5, 0);
    }

    private static IEnumerable<Frame> MakeFrames()
    {
        for (int i = 0; i < Frames; i++)
        {
            var pixels = new byte[FrameBytes];
            pixels.AsSpan().Fill((byte)i);
            yield return new Frame(i, pixels);
        }
    }

    private static string NameOf(Placement placement) => placement switch
    {
        InProcessPlacement => "in process",
        LoopbackPlacement => "loopback",
        _ => "child process",
    };

    private sealed record Reading(long Number, int Sensor, double Value, int Hops);

    private sealed record Frame(int Number, byte[] Pixels)
    {
        public Frame Turn()
        {
            Span<byte> pixels = Pixels;
            pixels.Reverse();
            pixels[0] = 255;
            return this;
        }

        public bool IsTurned(long number) => Number == number && Pixels.Length == FrameBytes && Pixels[0] == 255 && Pixels[^1] == (byte)number;
    }
}
