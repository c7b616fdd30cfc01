using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using Microsoft.Extensions.Logging.Abstractions;
using Puma.Dataflow.Isolation.Launch;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>How a program ends while its pipeline has children.</summary>
public enum ParentEnd
{
    /// <summary>It waits to be killed.</summary>
    Wait,
    Exit,
    Return,
    FailFast,

    /// <summary>The thread that started the pipeline ends; the program goes on until it is told to end.</summary>
    ThreadEnds,

    /// <summary>It waits for a line before it starts the pipeline, and tells how that went.</summary>
    Tell,

    /// <summary>It has a spare child, of which it tells, and waits to be killed.</summary>
    Spare,

    /// <summary>It is no parent, but founds and ends a group as a child does, and tells the group's other process.</summary>
    Group,
}

/// <summary>A program with a pipeline that has two children, one of which has started a process of its own.</summary>
internal static class ParentProgram
{
    public const string Mark = "--as-parent";

    /// <summary>A variable that makes <c>Main</c> take over children itself.</summary>
    public const string Explicit = "PUMA_TEST_EXPLICIT";

    /// <summary>How this program is started once more.</summary>
    public static ProcessStartInfo Command(ParentEnd end, string temporary, string? program = null)
    {
        var start = new ProcessStartInfo(program ?? Environment.ProcessPath!) { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet")
            start.ArgumentList.Add(Assembly.GetExecutingAssembly().Location);
        start.ArgumentList.Add(Mark);
        start.ArgumentList.Add(end.ToString());
        start.Environment["TMPDIR"] = temporary;
        return start;
    }

    public static async Task<int> RunAsync(string[] arguments)
    {
        if (Environment.GetEnvironmentVariable(Explicit) is not null)
            AppContext.SetSwitch("System.StartupHookProvider.IsSupported", false);
        ParentEnd end = Enum.Parse<ParentEnd>(arguments[0]);
        if (end == ParentEnd.Group)
            return await EndGroupAsync();
        if (end == ParentEnd.Spare)
            return await WaitWithSpareAsync();
        Pipeline pipeline = Pipeline.From(Enumerable.Range(1, 2))
            .Then(static () => new First(), new() { Name = "first", Placement = Placement.ChildProcess })
            .Then(static () => new Second(), new() { Name = "second", Placement = Placement.ChildProcess })
            .ForEach(static ids => Console.WriteLine("ready " + ids))
            .Build(new() { LoggerFactory = NullLoggerFactory.Instance });
        if (end == ParentEnd.Tell)
            return await TellAsync(pipeline);
        PipelineRun? run = null;
        var thread = new Thread(() => run = pipeline.Start());
        thread.Start();
        thread.Join();
        switch (end)
        {
            case ParentEnd.Return:
                await WaitForInputAsync();
                return 0;
            case ParentEnd.Exit:
                await WaitForInputAsync();
                Environment.Exit(0);
                return 0;
            case ParentEnd.FailFast:
                await WaitForInputAsync();
                Environment.FailFast("the parent crashes");
                return 0;
            case ParentEnd.ThreadEnds:
                await WaitForInputAsync();
                await run!.DisposeAsync();
                return 0;
            default:
                await Task.Delay(Timeout.Infinite);
                return 0;
        }
    }

    private static async Task<int> WaitWithSpareAsync()
    {
        using var log = new LogRecorder();
        await using PipelineRun<int> run = Pipeline.Accept<int>()
            .Transform(static x => x, new() { Placement = Placement.ChildProcess with { OnLoss = LossPolicy.Restart(), SpareChildren = 1 } })
            .ForEach(static _ => { })
            .Build(new() { LoggerFactory = log })
            .Start();
        await Waiting.UntilAsync(() => log.Records.Any(IsSpareStarted), "a spare child is ready");
        Console.WriteLine(log.Records.First(IsSpareStarted).Message);
        await Task.Delay(Timeout.Infinite);
        return 0;

        static bool IsSpareStarted(LogRecord record) => record.EventId.Id == 47;
    }

    private static async Task<int> TellAsync(Pipeline pipeline)
    {
        Console.WriteLine("waiting");
        await WaitForInputAsync();
        await using PipelineRun run = pipeline.Start();
        try
        {
            await run.Started;
            Console.WriteLine($"started{(Environment.GetEnvironmentVariable(Explicit) is null ? "" : " by Main")}");
        }
        catch (StageFaultedException fault)
        {
            Console.WriteLine($"{fault.InnerException!.GetType().Name}: {fault.InnerException.Message}".ReplaceLineEndings(" "));
        }

        return 0;
    }

    private static async Task<int> EndGroupAsync()
    {
        int before = ChildMain.FoundGroup();
        Console.WriteLine("ready " + StartSleeper());
        await WaitForInputAsync();
        ChildMain.EndGroup(before);
        Console.WriteLine("still here");
        return 3;
    }

    private static Task WaitForInputAsync() => Console.In.ReadLineAsync();

    private static string StartSleeper()
    {
        using Process sleeper = Process.Start("sleep", "600");
        return string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId} {sleeper.Id}");
    }

    /// <summary>Emits the ids of its process and of one that it started; then it spins for ever.</summary>
    private sealed class First : Runnable<int, string>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (item == 1)
                await EmitAsync(StartSleeper(), cancellationToken);
            while (item == 2)
                Thread.SpinWait(1000);
        }
    }

    /// <summary>Adds the ids of its process and of one that it started, and is idle then.</summary>
    private sealed class Second : Runnable<string, string>
    {
        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken) => EmitAsync($"{item} {StartSleeper()}", cancellationToken);
    }
}
