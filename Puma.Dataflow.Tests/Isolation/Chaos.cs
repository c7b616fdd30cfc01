using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What a chaotic runnable does, and when.</summary>
/// <param name="Kind">What it does.</param>
/// <param name="At">At which item; 0 for none.</param>
/// <param name="OncePath">When set, it does it only while this file exists, and takes it away first: the next child is well.</param>
public sealed record ChaosOptions(ChaosKind Kind, int At, string? OncePath = null);

/// <summary>Ways in which user code can harm its process.</summary>
public enum ChaosKind
{
    None,
    Exit0,
    Exit3,
    Throw,
    ThrowOnThread,
    UnobservedTask,
    FailFast,
    StackOverflow,
    AccessViolation,
    OutOfMemory,
    KillSelf,
    TerminateSelf,
    StopSelf,
    SleepForever,
    Spin,
    CloseFiles,
    FloodOutput,
    FloodLog,
    HugeLog,
    HugeException,
    GrandchildHoldsOutput,
    GrandchildLeavesGroup,
    CrashInConstructor,
    CrashInStart,
    CrashAtComplete,
    CrashAtEnd,
    NeverComplete,
    CorruptFrame,
    ManyFiles,
}

/// <summary>Doubles its items, and harms its process at one of them.</summary>
public sealed partial class Chaos : Runnable<int, int>
{
    private readonly ChaosOptions _options;

    public Chaos(ChaosOptions options)
    {
        _options = options;
        if (options.Kind == ChaosKind.CrashInConstructor && IsTime())
            KillSelf();
    }

    protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
    {
        if (_options.Kind == ChaosKind.CrashInStart && IsTime())
            KillSelf();
        return default;
    }

    protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
    {
        if (item == _options.At && IsTime())
            await HarmAsync(cancellationToken);
        await EmitAsync(item * 2, cancellationToken);
    }

    protected override async ValueTask OnCompletedAsync(CancellationToken cancellationToken)
    {
        if (_options.Kind == ChaosKind.CrashAtComplete && IsTime())
            KillSelf();
        if (_options.Kind == ChaosKind.NeverComplete && IsTime())
            await Task.Delay(Timeout.Infinite, cancellationToken);
    }

    protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
    {
        if (_options.Kind == ChaosKind.CrashAtEnd && IsTime())
            KillSelf();
        return default;
    }

    private bool IsTime()
    {
        if (_options.OncePath is not { } path)
            return true;
        try
        {
            // Of several children that come here at once, one gets it.
            File.Move(path, path + ".done");
            return true;
        }
        catch (FileNotFoundException)
        {
            return false;
        }
    }

    private async Task HarmAsync(CancellationToken cancellationToken)
    {
        switch (_options.Kind)
        {
            case ChaosKind.Exit0:
                Environment.Exit(0);
                break;
            case ChaosKind.Exit3:
                Environment.Exit(3);
                break;
            case ChaosKind.Throw:
                throw new FormatException("chaos");
            case ChaosKind.ThrowOnThread:
                new Thread(static () => throw new InvalidOperationException("on a thread of its own")).Start();
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
                break;
            case ChaosKind.UnobservedTask:
                _ = Task.Run(static () => throw new InvalidOperationException("nobody looks"), CancellationToken.None);
                break;
            case ChaosKind.FailFast:
                Environment.FailFast("chaos");
                break;
            case ChaosKind.StackOverflow:
                Deeper(0);
                break;
            case ChaosKind.AccessViolation:
                Marshal.WriteInt32(unchecked((nint)0x7000_0000_0000), 1);
                break;
            case ChaosKind.OutOfMemory:
                List<byte[]> all = [];
                while (true)
                    all.Add(new byte[1024 * 1024]);
            case ChaosKind.KillSelf:
                KillSelf();
                break;
            case ChaosKind.TerminateSelf:
                Signal(15);
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
                break;
            case ChaosKind.StopSelf:
                Signal(19);
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
                break;
            case ChaosKind.SleepForever:
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
                break;
            case ChaosKind.Spin:
                while (true)
                    Thread.SpinWait(1000);
            case ChaosKind.CloseFiles:
                for (int descriptor = 3; descriptor < 1024; descriptor++)
                    _ = Close(descriptor);
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
                break;
            case ChaosKind.FloodOutput:
                string line = new('x', 1000);
                for (int i = 0; i < 100_000; i++)
                    Console.WriteLine(line);
                break;
            case ChaosKind.FloodLog:
                for (int i = 0; i < 50_000; i++)
                    Context.Logger.Log(LogLevel.Information, "line {Number}", i);
                break;
            case ChaosKind.HugeLog:
                Context.Logger.Log(LogLevel.Information, "{Text}", new string('y', 10_000_000));
                break;
            case ChaosKind.HugeException:
                throw new FormatException(new string('z', 10_000_000), new AggregateException(Enumerable.Range(0, 1000).Select(static i => new InvalidOperationException(new string('i', 10_000)))));
            case ChaosKind.GrandchildHoldsOutput:
                Process.Start("sleep", "600");
                break;
            case ChaosKind.GrandchildLeavesGroup:
                Process.Start("setsid", "sleep 5");
                break;
            case ChaosKind.CorruptFrame:
                WriteNoise();
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
                break;
            case ChaosKind.ManyFiles:
                List<FileStream> files = [];
                try
                {
                    while (files.Count < 2000)
                        files.Add(File.OpenRead("/dev/null"));
                }
                finally
                {
                    files.ForEach(static f => f.Dispose());
                }

                break;
            default:
                throw new NotSupportedException($"{_options.Kind} is not done at an item.");
        }
    }

    /// <summary>Writes what is no frame to every socket of the process.</summary>
    private static void WriteNoise()
    {
        byte[] noise = new byte[256];
        Random.Shared.NextBytes(noise);
        foreach (string entry in Directory.GetFiles("/proc/self/fd"))
        {
            if (File.ResolveLinkTarget(entry, returnFinalTarget: false)?.Name.StartsWith("socket:", StringComparison.Ordinal) == true)
                _ = Write(int.Parse(Path.GetFileName(entry), System.Globalization.CultureInfo.InvariantCulture), noise, noise.Length);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Deeper(int depth) => Deeper(depth + 1) + Deeper(depth + 2);

    private static void KillSelf()
    {
        Signal(9);
        Thread.Sleep(Timeout.Infinite);
    }

    private static void Signal(int signal) => _ = Kill(Environment.ProcessId, signal);

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);

    [LibraryImport("libc", EntryPoint = "write")]
    private static partial nint Write(int descriptor, byte[] bytes, nint count);
}
