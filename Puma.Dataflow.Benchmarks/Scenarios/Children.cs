namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>Items that go to a child process. Its start is no matter of the rate.</summary>
internal static class Children
{
    private const int BlockBytes = 6 * 1024 * 1024;

    /// <summary>The child of each run is new, and fast only after a second or so.</summary>
    private static readonly TimeSpan s_longestRun = TimeSpan.FromSeconds(4);

    /// <summary>Records of 32 bytes there and back. While the first quarter of them is on its way, the child gets fast.</summary>
    /// <param name="capacity">The bound of each buffer, and the window of the peers.</param>
    /// <param name="items">How many go through.</param>
    public static Scenario OfReadings(int capacity, int items)
    {
        return new("child-small", capacity, items, Sum.OfFirst,
            [
                new("puma", PumaAsync),
                new("socket", SocketAsync),
                new("jsonrpc", JsonRpcAsync, OneOf: 500),
            ])
        {
            LongestRun = s_longestRun,
        };

        Task<long> PumaAsync(int n, Clock clock) =>
            EchoAsync(Enumerable.Range(0, n).Select(static i => new Reading(i, 1, 2, 3)), static r => r.Number, capacity, clock, Unmeasured(n));

        async Task<long> SocketAsync(int n, Clock clock)
        {
            await using PeerProcess peer = await PeerProcess.StartAsync(RawSocket.Echo);
            return await InTwoPartsAsync(n, clock, (first, count) => Task.Run(() => RawSocket.EchoReadings(peer.Socket, first, count, capacity)));
        }

        async Task<long> JsonRpcAsync(int n, Clock clock)
        {
            await using PeerProcess peer = await PeerProcess.StartAsync(JsonRpcPeer.Role);
            using var rpc = new JsonRpcPeer(peer.Socket);
            return await InTwoPartsAsync(n, clock, (first, count) => rpc.EchoAsync(first, count, capacity));
        }
    }

    /// <summary>Texts of some 40 characters there and back.</summary>
    /// <inheritdoc cref="OfReadings"/>
    public static Scenario OfTexts(int capacity, int items)
    {
        string[] texts = [.. Enumerable.Range(0, 1000).Select(static i => $"measurement number {i:0000} of the sensor")];
        return new("child-text", capacity, items, n => (long)n * texts[0].Length,
            [new("puma", (n, clock) => EchoAsync(Enumerable.Range(0, n).Select(i => texts[i % texts.Length]), static t => t.Length, capacity, clock))]);
    }

    /// <summary>Arrays of 64 KiB there and back.</summary>
    /// <inheritdoc cref="OfReadings"/>
    public static Scenario OfArrays(int capacity, int items)
    {
        var array = new byte[64 * 1024];
        return new("child-64KB", capacity, items, n => (long)n * array.Length,
            [new("puma", (n, clock) => EchoAsync(Enumerable.Repeat(array, n), static a => a.Length, capacity, clock))]);
    }

    /// <summary>Blocks of 6 MiB in pooled buffers, one way.</summary>
    /// <inheritdoc cref="OfReadings"/>
    public static Scenario OfBlocks(int capacity, int items)
    {
        return new("child-6MB", capacity, items, static n => n,
            [
                new("puma", PumaAsync),
                new("socket", SocketAsync),
            ])
        {
            LongestRun = s_longestRun,
        };

        async Task<long> PumaAsync(int n, Clock clock)
        {
            Sum sum = new();
            using SharedBuffer block = SharedBuffer.Rent(BlockBytes);
            await using PipelineRun run = Pipeline.From(Enumerable.Repeat(block, n))
                .Transform(static b => b.Length / BlockBytes, new() { BoundedCapacity = capacity, Placement = Placement.ChildProcess })
                .ForEach(sum.Add, new() { BoundedCapacity = capacity })
                .Build(Quiet.Options).Start();
            await run.Started;
            clock.Begin();
            await run.Completion;
            return sum.Value;
        }

        async Task<long> SocketAsync(int n, Clock clock)
        {
            await using PeerProcess peer = await PeerProcess.StartAsync(RawSocket.Drain);
            clock.Begin();
            return await Task.Run(() => RawSocket.SendBlocks(peer.Socket, n, BlockBytes, capacity));
        }
    }

    /// <param name="items">What goes there and back.</param>
    /// <param name="valueOf">What is added up.</param>
    /// <param name="capacity">The bound of each buffer.</param>
    /// <param name="clock">What it takes.</param>
    /// <param name="unmeasured">How many arrive before the clock begins.</param>
    private static async Task<long> EchoAsync<T>(IEnumerable<T> items, Func<T, long> valueOf, int capacity, Clock clock, int unmeasured = 0)
    {
        Sum sum = new();
        await using PipelineRun run = Pipeline.From(items)
            .Transform(static x => x, new() { BoundedCapacity = capacity, Placement = Placement.ChildProcess })
            .ForEach(
                x =>
                {
                    sum.Add(valueOf(x));
                    if (sum.Count == unmeasured)
                        clock.Begin(unmeasured);
                },
                new() { BoundedCapacity = capacity })
            .Build(Quiet.Options).Start();
        await run.Started;
        if (unmeasured == 0)
            clock.Begin();
        await run.Completion;
        return sum.Value;
    }

    /// <summary>The same for a peer: it has moved the first quarter when the clock begins.</summary>
    private static async Task<long> InTwoPartsAsync(int n, Clock clock, Func<int, int, Task<long>> echoAsync)
    {
        int unmeasured = Unmeasured(n);
        long sum = await echoAsync(0, unmeasured);
        clock.Begin(unmeasured);
        return sum + await echoAsync(unmeasured, n - unmeasured);
    }

    /// <summary>Of so many records, those that arrive before the clock begins.</summary>
    private static int Unmeasured(int n) => n / 4;
}
