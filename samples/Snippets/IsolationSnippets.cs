using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;
using Puma.Dataflow;

namespace Snippets;

#region isolation-derived
public abstract record Shape(string Name);

public sealed record Circle(string Name, double Radius) : Shape(Name);

public sealed record Square(string Name, double Side) : Shape(Name);
#endregion

#region isolation-codec
public sealed class Temperature
{
    internal Temperature(int milliKelvin) => MilliKelvin = milliKelvin;

    internal int MilliKelvin { get; }
}

public sealed class TemperatureCodec : IItemCodec
{
    public bool CanCarry(Type type) => type == typeof(Temperature);

    public void Write<T>(IBufferWriter<byte> target, T value)
    {
        BinaryPrimitives.WriteInt32LittleEndian(target.GetSpan(sizeof(int)), ((Temperature)(object)value!).MilliKelvin);
        target.Advance(sizeof(int));
    }

    public T Read<T>(ReadOnlySequence<byte> source)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        source.CopyTo(bytes);
        return (T)(object)new Temperature(BinaryPrimitives.ReadInt32LittleEndian(bytes));
    }
}
#endregion

#region isolation-buffer
public sealed record Picture(int Number, SharedBuffer Pixels);

public sealed class Brightness : Runnable<Picture, long>
{
    protected override ValueTask OnItemAsync(Picture item, CancellationToken cancellationToken)
    {
        long sum = 0;
        foreach (byte pixel in item.Pixels.Memory.Span)
            sum += pixel;
        return EmitAsync(sum, cancellationToken); // the child's buffer goes back to its pool with the item
    }
}
#endregion

/// <summary>A runnable that waits for a debugger; docs/isolation.md shows it, and nothing runs it.</summary>
public sealed class WaitsForADebugger : SinkRunnable<int>
{
    #region isolation-debugger
    protected override async ValueTask OnStartAsync(CancellationToken cancellationToken)
    {
        while (!Debugger.IsAttached)
            await Task.Delay(TimeSpan.FromMilliseconds(100), cancellationToken);
    }
    #endregion

    protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => default;
}

internal static class IsolationSnippets
{
    public static async Task RunAsync()
    {
        Settings();
        await OneWord();
        await Loss();
        await Catching();
        await Derived();
        await Codec();
        await Buffer();
        await Loopback();

        // Last, because it changes how children are started.
        ExplicitMain();
    }

    private static void Settings()
    {
        #region isolation-with
        ChildProcessPlacement careful = Placement.ChildProcess with { StartTimeout = TimeSpan.FromMinutes(1) };
        Placement lean = careful with { MemoryLimit = 256 * 1024 * 1024 };
        #endregion

        #region isolation-here
        PipelineOptions here = new() { DefaultPlacement = Placement.Loopback };
        #endregion

        #region isolation-debugged
        ChildProcessPlacement debugged = Placement.ChildProcess with
        {
            HangTimeout = Timeout.InfiniteTimeSpan,
            StartTimeout = TimeSpan.FromHours(1),
            StopGrace = TimeSpan.FromHours(1),
        };
        PipelineOptions patient = new() { AbortTimeout = TimeSpan.FromHours(1) };
        #endregion

        Check.That(lean is ChildProcessPlacement { StartTimeout.TotalMinutes: 1 } && here.DefaultPlacement is LoopbackPlacement);
        Pipeline.From([1]).To(static () => new WaitsForADebugger(), new() { Placement = debugged }).Build(patient);
    }

    private static async Task OneWord()
    {
        List<string> hashes = [];

        #region readme-isolation
        Pipeline pipeline = Pipeline.From([new byte[10], new byte[20]])
            .Then(static o => new Hasher(o), new HasherOptions("SHA256"), new()
            {
                Name = "hash",
                MaxDegreeOfParallelism = 2,
                Placement = Placement.ChildProcess,
            })
            .ForEach(hashes.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(hashes.Count == 2);
    }

    private static async Task Loss()
    {
        List<int> good = [];
        List<DeadLetter<int>> poison = [];
        var quiet = new PipelineOptions { LoggerFactory = NullLoggerFactory.Instance };

        #region isolation-loss
        Pipeline pipeline = Pipeline.From(Enumerable.Range(1, 10))
            .Transform(FragileSquare, new()
            {
                Name = "square",
                Placement = Placement.ChildProcess with
                {
                    // At most five new children a minute; a number that was in work when a child was lost is tried twice in all.
                    OnLoss = LossPolicy.Restart(max: 5, window: TimeSpan.FromMinutes(1)).Replay(attempts: 2),
                    StopGrace = TimeSpan.FromSeconds(1),
                },
                ErrorPolicy = ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) =>
                {
                    poison.Add(letter); // letter.Error is a ChildProcessLostException
                    return default;
                }),
            })
            .ForEach(good.Add)
            .Build(quiet);
        #endregion

        PipelineReport report = await pipeline.Start().Completion;
        Check.That(good.Count == 9 && poison.Single() is { Item: 7, Error: ChildProcessLostException { Exit.Reason: ChildExitReason.FailFast } });

        // One for each time that the seven was in work; a child that was lost at its start would count, too.
        Check.That(report.Stage("square").Restarts == 2, $"2 restarts, but there were {report.Stage("square").Restarts}: {report}");
    }

    private static int FragileSquare(int number)
    {
        if (number == 7)
            Environment.FailFast("seven");
        return number * number;
    }

    private static async Task Catching()
    {
        Pipeline pipeline = Pipeline.From(["1", "two"])
            .Transform(static text => int.Parse(text, CultureInfo.InvariantCulture), new() { Name = "parse", Placement = Placement.ChildProcess })
            .ForEach(static x => { })
            .Build(new() { LoggerFactory = NullLoggerFactory.Instance });
        bool isFormat = false;

        #region isolation-catching
        try
        {
            await pipeline.Start().Completion;
        }
        catch (StageFaultedException fault) when (fault.IsCausedBy<FormatException>())
        {
            isFormat = true; // the same in every placement
            if (fault.InnerException is RemoteRunnableException remote)
                Console.WriteLine($"{remote.TypeName} in process {remote.ProcessId}: {remote.Message}");
        }
        catch (StageFaultedException fault) when (fault.InnerException is ChildProcessLostException lost)
        {
            Console.WriteLine($"{lost.Exit.Reason}, exit code {lost.Exit.ExitCode}: {lost.Exit.Description}");
        }
        #endregion

        Check.That(isFormat);
    }

    private static async Task Derived()
    {
        List<Shape> seen = [];

        #region isolation-derived-wiring
        Pipeline pipeline = Pipeline.From(new Shape[] { new Circle("c", 2), new Square("s", 3) })
            .Transform(static shape => shape with { Name = shape.Name + "!" }, new() { Placement = Placement.ChildProcess })
            .ForEach(seen.Add)
            .Build(new() { DerivedTypes = [typeof(Circle), typeof(Square)] });
        #endregion

        await pipeline.Start().Completion;
        Check.That(seen.SequenceEqual([new Circle("c!", 2), new Square("s!", 3)]));
    }

    private static async Task Codec()
    {
        List<Temperature> seen = [];

        #region isolation-codec-wiring
        Pipeline pipeline = Pipeline.From([new Temperature(273_150)])
            .Transform(static t => new Temperature(t.MilliKelvin + 1000), new() { Placement = Placement.ChildProcess })
            .ForEach(seen.Add)
            .Build(new() { ItemCodec = static () => new TemperatureCodec() });
        #endregion

        await pipeline.Start().Completion;
        Check.That(seen.Single().MilliKelvin == 274_150);
    }

    private static async Task Buffer()
    {
        SharedBuffer pixels = SharedBuffer.Rent(100_000);
        pixels.Memory.Span.Fill(1);
        Picture[] pictures = [new(1, pixels)];
        List<long> sums = [];

        Pipeline pipeline = Pipeline.From(pictures)
            .Then(static () => new Brightness(), new() { Placement = Placement.ChildProcess })
            .ForEach(sums.Add)
            .Build();

        await pipeline.Start().Completion;
        Check.That(sums.SequenceEqual([100_000]));
        pixels.Dispose();
    }

    private static async Task Loopback()
    {
        int offset = 5;

        #region isolation-loopback
        StageOptions strict = new() { Name = "add", Placement = Placement.Loopback };
        try
        {
            Pipeline.From([1, 2]).Transform(x => x + offset, strict).ForEach(Console.WriteLine).Build();
        }
        catch (PipelineBuildException error)
        {
            Console.WriteLine(error.Message); // Stage 'add': Placement is Loopback, but its delegate captures 'offset', …
        }
        #endregion

        await Pipeline.From([1, 2]).Transform(static x => x + 5, strict).ForEach(static x => { }).Build().Start().Completion;
    }

    private static void ExplicitMain()
    {
        #region isolation-main
        PumaWorker.RunIfChild(); // the first line of Main: in a child it does the child's work and does not return
        #endregion
    }
}
