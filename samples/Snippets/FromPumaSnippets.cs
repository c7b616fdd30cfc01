#region from-puma-usings
using Microsoft.Extensions.Logging;
using Puma.Dataflow;
#endregion

namespace Snippets;

#region from-puma-demo
public sealed class Publisher(int count) : SourceRunnable<string>
{
    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        for (int i = 0; i < count && !stopToken.IsCancellationRequested; i++)
            await EmitAsync($"message {i}", stopToken);
    }
}

public sealed class MessagePrinter : SinkRunnable<string>
{
    protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
    {
        Console.WriteLine(item);
        return default;
    }
}
#endregion

#region from-puma-greeter
public interface IGreeter
{
    ValueTask GreetAsAsync(string greeting);

    ValueTask<int> CountAsync();
}

public sealed class Greeter : Runnable<string, string>, IGreeter
{
    private string _greeting = "Hello";
    private int _count;

    public ValueTask GreetAsAsync(string greeting)
    {
        _greeting = greeting;
        return default;
    }

    public ValueTask<int> CountAsync() => ValueTask.FromResult(_count);

    protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
    {
        _count++;
        return EmitAsync($"{_greeting}, {item}", cancellationToken);
    }
}
#endregion

#region from-puma-state
public sealed record CameraOptions(string Device, int Width); // copied to where the runnable lives

public sealed class Camera(CameraOptions options) : Runnable<TimeSpan, string>
{
    private readonly Lock _gate = new(); // made where the runnable lives, for each instance anew
    private int _frames;

    protected override ValueTask OnItemAsync(TimeSpan item, CancellationToken cancellationToken)
    {
        lock (_gate)
            _frames++;
        return EmitAsync($"{options.Device}, {options.Width} wide: frame {_frames}", cancellationToken);
    }
}
#endregion

#region from-puma-position
public sealed record Position(double X, double Y);

public sealed class Tracker : SinkRunnable<(double X, double Y)>
{
    private (double X, double Y) _last;

    protected override ValueTask OnItemAsync((double X, double Y) item, CancellationToken cancellationToken)
    {
        _last = item;
        return default;
    }

    protected override ValueTask OnTickAsync(CancellationToken cancellationToken)
    {
        Context.Logger.LogInformation("at {X}, {Y}", _last.X, _last.Y);
        ReportStatus(new Position(_last.X, _last.Y));
        return default;
    }
}
#endregion

/// <summary>What docs/from-puma.md shows.</summary>
internal static class FromPumaSnippets
{
    public static async Task RunAsync(CancellationToken cancellationToken)
    {
        await LineAsync();
        await CallAsync();
        await TrackAsync(Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance);
        await FanOutAsync();
        await WorkAsync(cancellationToken);
    }

    private static async Task LineAsync()
    {
        #region from-puma-stop
        using var stop = new CancellationTokenSource();
        Console.CancelKeyPress += (_, pressed) =>
        {
            pressed.Cancel = true; // the run is to end in order, and then the program
            stop.Cancel();
        };
        CancellationToken cancellationToken = stop.Token;
        #endregion

        #region from-puma-line
        await using PipelineRun run = Pipeline
            .From(static count => new Publisher(count), 10, new() { Name = "publish", Placement = Placement.ChildProcess })
            .To(static () => new MessagePrinter(), new() { Name = "print" })
            .Build()
            .Start(cancellationToken);

        try
        {
            await run.Completion; // throws what went wrong, wherever it did
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            Console.WriteLine("stopped by Ctrl+C");
        }
        #endregion

        Check.That((await run.Report).Stage("print").Delivered == 10);
    }

    private static async Task CallAsync()
    {
        List<string> seen = [];
        await using PipelineRun<string> run = Pipeline.Accept<string>()
            .Then(static () => new Greeter(), new() { Name = "greet", Placement = Placement.Loopback })
            .ForEach(seen.Add)
            .Build()
            .Start();

        #region from-puma-call
        IGreeter greeter = run.Control<IGreeter>("greet");
        await greeter.GreetAsAsync("Welcome");
        int count = await greeter.CountAsync();
        #endregion

        await run.SendAsync("Ada");
        run.Complete();
        await run.Completion;
        Check.That(count == 0 && seen is ["Welcome, Ada"]);
    }

    private static async Task TrackAsync(ILoggerFactory loggerFactory)
    {
        #region from-puma-ticks
        await using PipelineRun<(double X, double Y)> run = Pipeline.Accept<(double X, double Y)>()
            .To(static () => new Tracker(), new() { Name = "track", TickInterval = TimeSpan.FromSeconds(1) })
            .Build(new() { LoggerFactory = loggerFactory })
            .Start();

        ITickControl ticks = run.Stage("track").Ticks;
        await ticks.SetIntervalAsync(TimeSpan.FromMilliseconds(20));
        Position position = (await run.Stage("track").Status.WaitAsync<Position>(TimeSpan.FromSeconds(10))).Value;
        await ticks.PauseAsync();
        #endregion

        Check.That(position is { X: 0, Y: 0 });
    }

    private static async Task FanOutAsync()
    {
        List<int> shown = [], stored = [];
        int[] images = [1, 2, 3];

        #region from-puma-fan-out
        await using PipelineRun run = Pipeline.From(images)
            .Broadcast(
                branch => branch.ForEach(stored.Add),
                branch => branch.Named("display").Optional().WhenFull(FullMode.DropOldest, 4).ForEach(shown.Add))
            .Build()
            .Start();
        #endregion

        await run.Completion;
        Check.That(stored.Count == 3);
    }

    private static async Task WorkAsync(CancellationToken cancellationToken)
    {
        int[] numbers = [3, 4, 5];

        #region from-puma-pool
        await using var workers = Workers.Create(new() { Count = 2 }, cancellationToken);
        Task<int> square = workers.SubmitAsync(static (x, _) => x * x, 12, cancellationToken);
        await foreach (int result in workers.MapAsync(static (x, _) => x * x, numbers, cancellationToken))
            Console.WriteLine(result); // in the order of the numbers
        Console.WriteLine(await square);
        #endregion
    }
}
