using Puma.Dataflow;

namespace Snippets;

#region started-runnables
public sealed class Countdown(int from) : SourceRunnable<int>
{
    protected override async ValueTask ProduceAsync(CancellationToken stopToken)
    {
        for (int i = from; i > 0 && !stopToken.IsCancellationRequested; i--)
            await EmitAsync(i, stopToken);
    }
}

public sealed class RunningSum : Runnable<int, int>
{
    private int _sum;

    protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
    {
        _sum += item;
        return EmitAsync(_sum, cancellationToken);
    }
}

public sealed class Printer : SinkRunnable<int>
{
    protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
    {
        Console.WriteLine(item);
        return default;
    }
}
#endregion

internal static class GettingStartedSnippets
{
    public static async Task RunAsync(CancellationToken cancellationToken)
    {
        await First();
        await Runnables();
        await Sending(cancellationToken);
        await Endings(cancellationToken);
        await Errors();
        await Looking();
    }

    private static async Task First()
    {
        #region started-first
        List<int> lengths = [];
        Pipeline pipeline = Pipeline.From(["one", "three", "five"])
            .Transform(static word => word.Length)
            .ForEach(lengths.Add)
            .Build();

        PipelineReport report = await pipeline.Start().Completion;
        #endregion

        Check.That(report.State == RunState.Completed);
        Check.That(lengths.SequenceEqual([3, 5, 4]));
    }

    private static async Task Runnables()
    {
        #region started-wiring
        Pipeline pipeline = Pipeline.From(static from => new Countdown(from), 3, new() { Name = "count" })
            .Then(static () => new RunningSum(), new() { Name = "sum" })
            .To(static () => new Printer(), new() { Name = "print" })
            .Build();
        await pipeline.Start().Completion;
        await pipeline.Start().Completion;
        #endregion
    }

    private static async Task Sending(CancellationToken cancellationToken)
    {
        #region started-sending
        await using PipelineRun<string> run = Pipeline.Accept<string>()
            .Transform(static text => text.ToUpperInvariant(), new() { BoundedCapacity = 16 })
            .ForEach(Console.WriteLine)
            .Build()
            .Start(cancellationToken);

        await run.SendAsync("waits while all 16 slots are taken", cancellationToken);
        bool hadRoom = run.TrySend("does not wait");
        run.Complete();
        await run.Completion;
        #endregion

        Check.That(hadRoom);
    }

    private static async Task Endings(CancellationToken cancellationToken)
    {
        Pipeline pipeline = Pipeline.From([1, 2, 0, 4])
            .Transform(static x => 12 / x, new() { Name = "divide" })
            .ForEach(Console.WriteLine)
            .Build(new() { LoggerFactory = Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance });
        int faults = 0;

        #region started-endings
        await using PipelineRun run = pipeline.Start(cancellationToken);
        try
        {
            await run.Completion;
        }
        catch (StageFaultedException fault) when (fault.IsCausedBy<DivideByZeroException>())
        {
            faults++;
            Console.WriteLine($"{fault.Stage} failed at item {fault.ItemNumber}");
        }
        catch (OperationCanceledException)
        {
            Console.WriteLine("cancelled");
        }

        PipelineReport report = await run.Report;
        #endregion

        Check.That(faults == 1 && report.State == RunState.Faulted && report.Cause!.ItemNumber == 3);
    }

    private static async Task Errors()
    {
        static int Parse(string text) => int.Parse(text, System.Globalization.CultureInfo.InvariantCulture);
        List<int> numbers = [];

        #region started-errors
        List<DeadLetter<string>> unreadable = [];
        Pipeline pipeline = Pipeline.From(["1", "two", "3"])
            .Transform(Parse, new()
            {
                Name = "parse",
                ErrorPolicy = ErrorPolicy.DeadLetter((DeadLetter<string> letter, CancellationToken _) =>
                {
                    unreadable.Add(letter);
                    return default;
                }),
            })
            .ForEach(numbers.Add)
            .Build();
        #endregion

        await pipeline.Start().Completion;
        Check.That(numbers.SequenceEqual([1, 3]) && unreadable.Single().Item == "two");
    }

    private static async Task Looking()
    {
        Pipeline pipeline = Pipeline.Accept<int>().Tap(static x => { }, new() { Name = "look" }).ForEach(static x => { }).Build();
        await using var run = (PipelineRun<int>)pipeline.Start();
        await run.SendAsync(1);

        #region started-looking
        PipelineSnapshot now = run.Snapshot();
        Console.WriteLine(now);
        StageHandle look = run.Stage("look");
        Console.WriteLine($"{look.State}: {look.Report().Delivered} delivered");
        PipelineReport report = await run.StopAsync(deadline: TimeSpan.FromSeconds(10));
        #endregion

        Check.That(report.State == RunState.Completed && report.Stage("look").Delivered == 1);
    }
}
