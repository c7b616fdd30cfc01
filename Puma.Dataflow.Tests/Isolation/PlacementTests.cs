using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Each setting of a child process has its effect.</summary>
public sealed class PlacementTests : ChildTest
{
    [Fact]
    public async Task Environment_IsSetAndTakenAway()
    {
        Environment.SetEnvironmentVariable("PUMA_TEST_GONE", "still here");
        try
        {
            List<string> seen = await RunAsync(
                static name => $"{name}={Environment.GetEnvironmentVariable(name) ?? "none"}",
                Placement.ChildProcess with { Environment = new Dictionary<string, string?> { ["PUMA_TEST_SET"] = "1", ["PUMA_TEST_GONE"] = null } },
                "PUMA_TEST_SET", "PUMA_TEST_GONE", "DOTNET_STARTUP_HOOKS", "PUMA_CHILD");

            // What started the child is not seen by user code, and not by what that starts.
            Assert.Equal(["PUMA_TEST_SET=1", "PUMA_TEST_GONE=none", "DOTNET_STARTUP_HOOKS=none", "PUMA_CHILD=none"], seen);
        }
        finally
        {
            Environment.SetEnvironmentVariable("PUMA_TEST_GONE", null);
        }
    }

    [Fact]
    public async Task WorkingDirectory_IsWhereTheChildRuns() =>
        Assert.Equal(["/usr"], await RunAsync(static _ => Environment.CurrentDirectory, Placement.ChildProcess with { WorkingDirectory = "/usr" }, "x"));

    [Fact]
    public async Task ServerGarbageCollection_IsNotUsedInChildren() =>
        Assert.Equal(["False"], await RunAsync(static _ => System.Runtime.GCSettings.IsServerGC.ToString(), Placement.ChildProcess, "x"));

    [Fact]
    public async Task MemoryLimit_IsTheHeapsLimit() =>
        Assert.Equal([$"{100 * 1024 * 1024}"], await RunAsync(static _ => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes.ToString(System.Globalization.CultureInfo.InvariantCulture), Placement.ChildProcess with { MemoryLimit = 100 * 1024 * 1024 }, "x"));

    [Theory] // S14, S37
    [InlineData(true)]
    [InlineData(false)]
    public async Task StartTimeout_EndsAStartThatTakesTooLong(bool isConstructor)
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static o => new Slow(o), new SlowOptions(isConstructor), new() { Name = "slow", Placement = Placement.ChildProcess with { StartTimeout = TimeSpan.FromSeconds(1) } })
            .ForEach(static _ => { }));

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Started.Within());
        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        var lost = Assert.IsType<ChildProcessLostException>(fault.InnerException);
        Assert.Equal(ChildExitReason.StartTimedOut, lost.Exit.Reason);
        Assert.Contains("StartTimeout", lost.Message, StringComparison.Ordinal);
    }

    [Fact] // S38
    public async Task MaxItemSize_AnItemOrResultThatIsTooLarge_IsAnItemError_AndTheNextOnesPass()
    {
        List<DeadLetter<int>> results = [];
        List<DeadLetter<byte[]>> items = [];
        List<int> seen = [];
        ChildProcessPlacement small = Placement.ChildProcess with { MaxItemSize = 100_000 };
        PipelineRun run = Start(Pipeline.From([10, 200_000, 20, 90_000])
            .Transform(static size => new byte[size], new() { Name = "make", Placement = small, ErrorPolicy = ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) => Add(results, letter)) })
            .Transform(static bytes => bytes.Length > 50_000 ? bytes : [.. bytes, .. new byte[150_000]], new() { Name = "grow" })
            .Transform(static bytes => bytes.Length, new() { Name = "measure", Placement = small, ErrorPolicy = ErrorPolicy.DeadLetter((DeadLetter<byte[]> letter, CancellationToken _) => Add(items, letter)) })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal([90_000], seen);
        DeadLetter<int> result = Assert.Single(results);
        Assert.Equal((200_000, 1), (result.Item, result.Attempts));
        Assert.Contains("MaxItemSize", result.Error.Message, StringComparison.Ordinal);
        Assert.Equal([150_010, 150_020], items.Select(static l => l.Item.Length));
        Assert.All(items, static l => Assert.IsType<ItemCodecException>(l.Error));
    }

    [Fact] // S38: never retried, and the stream stays usable
    public async Task ACyclicItemOrResult_IsAnItemError_AndTheNextOnesPass()
    {
        List<string> letters = [];
        List<string> seen = [];
        StageOptions options = new()
        {
            Placement = Placement.ChildProcess,
            ErrorPolicy = ErrorPolicy.Retry(3).Then(ErrorPolicy.DeadLetter((DeadLetter<Ring> letter, CancellationToken _) => Add(letters, $"{letter.Stage} {letter.Item.Name} {letter.Attempts}"))),
        };
        PipelineRun run = Start(Pipeline.From([Ring.Open("a"), Ring.Closed("b"), Ring.Open("c"), Ring.Open("d")])
            .Transform(static ring => ring.Name == "c" ? Ring.Closed("c") : ring, options with { Name = "turn" })
            .ForEach(ring => seen.Add(ring.Name)));

        await run.Completion.Within();

        Assert.Equal(["a", "d"], seen);
        Assert.Equal(["turn b 1", "turn c 1"], letters);
    }

    [Fact] // OwnThread and PartitionBy hold there too
    public async Task AChild_RunsOneStreamOnOneThread_WithOwnThread()
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 100))
            .Transform(static _ => Environment.CurrentManagedThreadId, new() { Placement = Placement.ChildProcess, OwnThread = true })
            .ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Single(seen.Distinct());
    }

    private static ValueTask Add<T>(List<T> list, T item)
    {
        list.Add(item);
        return default;
    }

    private async Task<List<string>> RunAsync(Func<string, string> look, ChildProcessPlacement placement, params string[] items)
    {
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From(items).Transform(look, new() { Placement = placement }).ForEach(seen.Add));
        await run.Completion.Within();
        return seen;
    }

    private sealed record SlowOptions(bool IsConstructor);

    private sealed class Slow : Runnable<int, int>
    {
        private readonly SlowOptions _options;

        public Slow(SlowOptions options)
        {
            _options = options;
            if (options.IsConstructor)
                Thread.Sleep(Timeout.Infinite);
        }

        protected override ValueTask OnStartAsync(CancellationToken cancellationToken) =>
            _options.IsConstructor ? default : new ValueTask(Task.Delay(Timeout.Infinite, CancellationToken.None));

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;
    }

    public sealed class Ring
    {
        public string Name { get; set; } = "";

        public Ring? Next { get; set; }

        public static Ring Open(string name) => new() { Name = name, Next = new() { Name = name + name } };

        public static Ring Closed(string name)
        {
            Ring ring = Open(name);
            ring.Next!.Next = ring;
            return ring;
        }
    }
}
