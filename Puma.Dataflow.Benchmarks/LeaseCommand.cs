using System.Diagnostics;
using System.Globalization;

namespace Puma.Dataflow.Benchmarks;

/// <summary>
/// Does anything stay behind when objects are lent, and calls given up? Takes and releases many leases of a child process, and prints the
/// managed and the whole memory of both processes before and after. Sensitive to the garbage collector, which is made to run before each line.
/// </summary>
internal static class LeaseCommand
{
    private const int AtATime = 64;

    public static async Task RunAsync(int leases = 1_000_000)
    {
        await using PipelineRun<int> run = Pipeline.Accept<int>().To(static () => new Lender(), new() { Name = "lender", Placement = Placement.ChildProcess })
            .Build(new() { LoggerFactory = Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance, ChattyCallWarning = null }).Start();
        ILender lender = run.Control<ILender>("lender");
        Console.WriteLine("what                       managed KB here   there   working set MB here   there   still lent");
        await TakeAsync(lender, 20_000);
        await PrintAsync(lender, "before");
        long begin = Stopwatch.GetTimestamp();
        for (int part = 1; part <= 4; part++)
        {
            await TakeAsync(lender, leases / 4);
            await PrintAsync(lender, $"after {leases / 4 * part} leases");
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{leases / Stopwatch.GetElapsedTime(begin).TotalSeconds:0} leases per second, {AtATime} at a time"));
        await GiveUpAsync(lender, leases / 10);
        await PrintAsync(lender, $"after {leases / 10} calls given up");
        bool isClean = await SettlesAsync(lender);
        await PrintAsync(lender, "when those were answered");
        run.Complete();
        await run.Completion;
        Console.WriteLine(isClean ? "Nothing stays behind." : "OBJECTS STAY BEHIND.");
    }

    private static Task TakeAsync(ILender lender, int count) => Task.WhenAll(Enumerable.Range(0, AtATime).Select(async _ =>
    {
        for (int i = 0; i < count / AtATime; i++)
        {
            await using ILoan loan = await lender.TakeAsync();
        }
    }));

    private static Task GiveUpAsync(ILender lender, int count) => Task.WhenAll(Enumerable.Range(0, AtATime).Select(async _ =>
    {
        for (int i = 0; i < count / AtATime; i++)
        {
            using var source = new CancellationTokenSource();
            ValueTask<ILoan> taking = lender.TakeAsync(source.Token);
            await source.CancelAsync();
            try
            {
                await using ILoan loan = await taking;
            }
            catch (OperationCanceledException)
            {
                // As asked.
            }
        }
    }));

    /// <summary>Who gives up a call goes on at once; the lease of what comes too late ends behind its back.</summary>
    private static async Task<bool> SettlesAsync(ILender lender)
    {
        for (int second = 0; second < 60; second++)
        {
            if ((await lender.MeasureAsync()).Lent == 0)
                return true;
            await Task.Delay(TimeSpan.FromSeconds(1));
        }

        return false;
    }

    private static async Task PrintAsync(ILender lender, string what)
    {
        GC.Collect(2, GCCollectionMode.Forced, blocking: true, compacting: true);
        Memory there = await lender.MeasureAsync();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,-26} {GC.GetTotalMemory(true) / 1024,15}   {there.Managed / 1024,5}   {Environment.WorkingSet >> 20,19}   {there.WorkingSet >> 20,5}   {there.Lent,10}"));
    }
}

/// <summary>The memory of a process, and how many objects it lends.</summary>
public sealed record Memory(long Managed, long WorkingSet, int Lent);

/// <summary>Lends objects.</summary>
public interface ILender
{
    /// <summary>Takes one.</summary>
    ValueTask<ILoan> TakeAsync(CancellationToken cancellationToken = default);

    /// <summary>Collects garbage and measures.</summary>
    ValueTask<Memory> MeasureAsync();
}

/// <summary>An object that is lent.</summary>
[RemoteObject]
public interface ILoan : IAsyncDisposable
{
    /// <summary>Does nothing.</summary>
    ValueTask TouchAsync();
}

/// <summary>Counts what it lends.</summary>
internal sealed class Lender : SinkRunnable<int>, ILender
{
    private int _lent;

    public ValueTask<ILoan> TakeAsync(CancellationToken cancellationToken)
    {
        _lent++;
        return new(new Loan(this));
    }

    public ValueTask<Memory> MeasureAsync()
    {
        GC.Collect(2, GCCollectionMode.Forced, blocking: true, compacting: true);
        return new(new Memory(GC.GetTotalMemory(true), Environment.WorkingSet, _lent));
    }

    protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;

    private sealed class Loan(Lender owner) : ILoan
    {
        public ValueTask TouchAsync() => default;

        public ValueTask DisposeAsync()
        {
            owner._lent--;
            return default;
        }
    }
}
