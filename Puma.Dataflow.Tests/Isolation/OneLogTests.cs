using System.Globalization;
using Microsoft.Extensions.Logging;
using NLog;
using NLog.Config;
using NLog.Targets;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Without a logger factory, everything of all placements is in the one NLog of the program, as its configuration says.</summary>
public sealed class OneLogTests : ChildTest
{
    private readonly string _folder = Directory.CreateTempSubdirectory("onelog").FullName;

    private static PipelineOptions OneLog => new() { Name = "one" };

    public override async ValueTask DisposeAsync()
    {
        LogManager.Configuration = null;
        Directory.Delete(_folder, recursive: true);
        await base.DisposeAsync();
    }

    [Fact] // G19
    public async Task TheSameRunnable_GivesTheSameLines_WhereverItRuns()
    {
        // What a child logs by NLog itself says where that was, too; in process there is nobody to add it.
        const string Layout = "${level}|${logger}|${message}|${message:raw=true}|${all-event-properties:includeEmptyValues=true:exclude=Bad}|${scopenested:separator=/}|${when:when=logger!='Direct':inner=${scopeproperty:puma.stage}|${scopeproperty:puma.item}}"
            + "|${scopeproperty:Order}|${scopeproperty:where}|${callsite}|${callsite-linenumber}|${callsite-filename:includeSourcePath=false}|${threadname}|${exception:format=tostring}";
        string[] inProcess = await LinesAsync(Placement.InProcess, Layout);

        Assert.Equal(inProcess, await LinesAsync(Placement.ChildProcess, Layout));

        // In loopback, NLog itself is that of the program: what is logged there does not go through the connection.
        Assert.Equal(inProcess.OrderBy(Logger), (await LinesAsync(Placement.Loopback, Layout)).OrderBy(Logger));

        Assert.Equal(13, inProcess.Length);
        Assert.StartsWith("Info|Runnables.one.says|item 1 of bob, 3.50, {x}|item {Item} of {Name}, {Number:0.00}, {{x}}|Item=1, Name=bob, Number=3.5", inProcess[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task ProcessAndThread_AreThoseOfTheChild()
    {
        string[] line = (await LinesAsync(Placement.ChildProcess, "${processid}|${threadid}|${pad:padding=20:inner=${processid}}|${scopeproperty:puma.pid}|${scopeproperty:puma.thread}"))[0].Split('|');

        Assert.NotEqual(Environment.ProcessId.ToString(CultureInfo.InvariantCulture), line[0]);
        Assert.Equal([line[0], line[1]], line[3..]);
        Assert.Equal(line[0], line[2].Trim());
    }

    [Fact]
    public async Task ALineOfOutput_IsTheChildsToo()
    {
        using var target = new MemoryTarget { Layout = "${processid}|${scopeproperty:puma.stage}|${callsite}|${message}" };
        Configure(new LoggingRule("Runnables.*.stdout", NLog.LogLevel.Info, target));
        var processes = new List<int>();
        PipelineRun run = Watch(Pipeline.From([1]).Then(static () => new Prints(), new() { Name = "prints", Placement = Placement.ChildProcess }).ForEach(processes.Add).Build(OneLog).Start());

        await run.Completion.Within();

        Assert.Equal([$"{processes[0]}|prints|<no type>.<no method>|out \\u001b[1m"], target.Logs);
    }

    [Theory] // without a usable configuration, logging is not silent
    [InlineData(null, false)]
    [InlineData("<nlog />", true)]
    [InlineData("<nlog><targets><target name='m' type='Memory' /></targets></nlog>", false)]
    public async Task AFileThatCouldNotBeRead_IsToldOf(string? file, bool isTold)
    {
        LogManager.Configuration = file is null ? null : XmlLoggingConfiguration.CreateFromXmlString(file);
        TextWriter console = Console.Error;
        using var error = new StringWriter();
        Console.SetError(error);
        try
        {
            PipelineRun run = Watch(Pipeline.From([1]).Then(static () => new Warns(), new() { Name = "warns" }).ForEach(static _ => { }).Build(OneLog).Start());
            await run.Completion.Within();
        }
        finally
        {
            Console.SetError(console);
        }

        Assert.Equal(isTold, error.ToString().Contains("could not be read", StringComparison.Ordinal));
        Assert.Equal(file is null || isTold, error.ToString().Contains("Runnables.one.warns item 1", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)] // by a watched file
    public async Task ALevelThatChanges_ReachesARunningChild(bool isFile)
    {
        string path = Path.Combine(_folder, "NLog.config");
        SetLevel("Info");
        if (isFile)
            LogManager.Setup().LoadConfigurationFromFile(path);
        var told = System.Threading.Channels.Channel.CreateUnbounded<string>();
        PipelineRun<int> run = Watch(Pipeline.Accept<int>().Then(static () => new TellsLevels(), new() { Name = "levels", Placement = Placement.ChildProcess }).ForEach(x => told.Writer.TryWrite(x)).Build(OneLog).Start());

        await UntilToldAsync("Information Info");
        SetLevel("Trace");
        await UntilToldAsync("Trace Trace");
        SetLevel("Error");
        await UntilToldAsync("Error Error");

        run.Complete();
        await run.Completion.Within();

        void SetLevel(string level)
        {
            if (isFile)
            {
                File.WriteAllText(path, $"""<nlog autoReload="true"><targets><target name="m" type="Memory" /></targets><rules><logger name="*" minlevel="{level}" writeTo="m" /></rules></nlog>""");
                return;
            }

            Configure(new LoggingRule("*", NLog.LogLevel.FromString(level), new MemoryTarget()));
        }

        async Task UntilToldAsync(string wanted)
        {
            string last = "";
            for (long start = Environment.TickCount64; last != wanted; last = await told.Reader.ReadAsync(TestToken).AsTask().Within())
            {
                Assert.True(Environment.TickCount64 - start < Waiting.Limit.TotalMilliseconds, $"The child still says '{last}' and not '{wanted}'.");
                await run.SendAsync(1, TestToken).AsTask().Within();
            }
        }
    }

    [Fact] // every record once, in the order of its child, also across the files of a target that rolls
    public async Task ThreeChildren_LogToOneFileThatRolls()
    {
        const int Records = 3000;
        using var file = new FileTarget { FileName = Path.Combine(_folder, "log.txt"), ArchiveAboveSize = 50_000, MaxArchiveFiles = -1, Layout = "${processid}|${message}" };
        Configure(new LoggingRule("Runnables.*", NLog.LogLevel.Debug, file));

        PipelineRun run = Watch(Recorder(0).Merge(Recorder(1), Recorder(2)).ForEach(static _ => { }).Build(OneLog).Start());
        await run.Completion.Within();
        LogManager.Configuration = null;

        string[][] lines = [.. Directory.GetFiles(_folder).Order(StringComparer.Ordinal).SelectMany(File.ReadAllLines).Select(static l => l.Split('|'))];
        Assert.True(Directory.GetFiles(_folder).Length > 3, "The file rolled.");
        Assert.Equal(3 * Records, lines.Length);
        foreach (IGrouping<string, string[]> child in lines.GroupBy(static l => l[0]))
            Assert.Equal(Enumerable.Range(1, Records).Select(static n => $"n={n}"), child.Select(static l => l[1].Split(' ')[2]));

        static PipelineBuilder<NoInput, int> Recorder(int index) => Pipeline.From(static o => new Records(o), (index, Records), new() { Name = $"r{index}", Placement = Placement.ChildProcess });
    }

    [Fact]
    public async Task ChildrenOfChildren_LogInTheOrderInWhichThingsHappen()
    {
        using var target = new MemoryTarget { Layout = "${message}" };
        Configure(new LoggingRule("Runnables.*", NLog.LogLevel.Debug, target));

        PipelineRun run = Watch(Generation.Run(1));
        await run.Completion.Within();

        Assert.Equal(["1 begins", "2 begins", "3 begins", "3 ends", "2 ends", "1 ends"], target.Logs);
    }

    [Fact]
    public async Task TwoPipelines_DoNotMix()
    {
        LogRecorder[] logs = [new(), new()];
        PipelineRun[] runs = [.. logs.Select((log, i) => Watch(Pipeline.From(static o => new Records(o), (i, 500), new() { Name = "records", Placement = Placement.ChildProcess }).ForEach(static _ => { }).Build(new() { Name = $"p{i}", LoggerFactory = log }).Start()))];

        foreach (PipelineRun run in runs)
            await run.Completion.Within();

        for (int i = 0; i < 2; i++)
        {
            string[] messages = [.. logs[i].Records.Where(static r => r.Category.StartsWith("Runnables", StringComparison.Ordinal)).Select(static r => r.Message)];
            Assert.Equal(Enumerable.Range(1, 500).Select(n => $"record c={i} n={n}"), messages);
        }
    }

    [Fact] // no child opens a log file, whichever thread is the first to use NLog
    public async Task TheFirstUsesOfNLog_ByManyThreadsAtOnce_AreForwarded()
    {
        PipelineRun run = Start(Pipeline.From([1]).Then(static () => new UsesNLogAtOnce(), new() { Name = "first", Placement = Placement.ChildProcess }).ForEach(static _ => { }));

        await run.Completion.Within();

        Assert.Equal(["0", "1", "2", "3"], Log.Records.Where(static r => r.Category == "First").Select(static r => r.Message).Order(StringComparer.Ordinal));
    }

    [Fact] // user code's own rules do not make a child write files
    public async Task WhatUserCodeAddsToTheConfiguration_IsTakenOutAgain()
    {
        string path = Path.Combine(_folder, "child.txt");
        PipelineRun run = Start(Pipeline.From([path]).Then(static () => new ConfiguresNLog(), new() { Name = "configures", Placement = Placement.ChildProcess }).ForEach(static _ => { }));

        await run.Completion.Within();

        Assert.Equal(["configured"], Log.Records.Where(static r => r.Category == "Direct").Select(static r => r.Message));
        Assert.False(File.Exists(path));
    }

    [Theory]
    [InlineData(3)]
    [InlineData(int.MaxValue)] // which has its way in the end, and harms nobody else
    public async Task ConfigurationsThatAreSetWhileOneIsTakenOut_AreTakenOutToo(int times)
    {
        string path = Path.Combine(_folder, "child.txt");
        PipelineRun run = Start(Pipeline.From([path]).Then(static n => new InsistsInNLog(n), times, new() { Name = "insists", Placement = Placement.ChildProcess }).ForEach(static _ => { }));

        await run.Completion.Within();

        if (times == int.MaxValue)
            return;
        Assert.Equal(["insisted"], Log.Records.Where(static r => r.Category == "Direct").Select(static r => r.Message));
        Assert.False(File.Exists(path));
    }

    [Fact] // a value that takes its time to be formatted holds up nobody else
    public async Task ARecordOfNLogThatStalls_StopsNoOther()
    {
        PipelineRun run = Start(Pipeline.From([1]).Then(static () => new StallsInNLog(), new() { Name = "stalls", Placement = Placement.ChildProcess }).ForEach(static _ => { }));

        await run.Completion.Within();

        Assert.Equal(["free", "late value"], Log.Records.Where(static r => r.Category == "Direct").Select(static r => r.Message));
    }

    [Fact] // a flood drops the lowest levels first, and says how many; what matters is kept
    public async Task AFlood_DropsTheLowestLevelsFirst_AndIsCounted()
    {
        Expect(44);
        var flooded = new Gate();
        using var log = new HookedLog(Log, (category, _) =>
        {
            if (category.StartsWith("Runnables", StringComparison.Ordinal))
                flooded.Block();
        });
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static () => new Floods(), new() { Name = "floods", Placement = Placement.ChildProcess })
            .ForEach(_ => flooded.Open()), Options with { LoggerFactory = log });

        await run.Completion.Within();

        var records = Log.Records.ToList();
        Assert.Equal(Floods.Errors, records.Count(static r => r.Message.StartsWith("error", StringComparison.Ordinal)));
        long dropped = records.Where(static r => r.EventId.Id == 44).Sum(static r => long.Parse(r.Message.Split(": ")[1].Split(' ')[0], CultureInfo.InvariantCulture));
        Assert.True(dropped > 0);
        Assert.Equal(Floods.Records, dropped + records.Count(static r => r.Message.StartsWith("debug", StringComparison.Ordinal)));
    }

    private static string Logger(string line) => line.Split('|')[1];

    private async Task<string[]> LinesAsync(Placement placement, string layout)
    {
        using var target = new MemoryTarget { Layout = layout };
        Configure(new LoggingRule("Runnables.*", NLog.LogLevel.Trace, target), new LoggingRule("Direct", NLog.LogLevel.Trace, target));
        PipelineRun run = Watch(Pipeline.From([1]).Then(static () => new Says(), new() { Name = "says", Placement = placement }).ForEach(static _ => { }).Build(OneLog).Start());
        await run.Completion.Within();

        // Where streams share threads, they may run on one of the pool or on the one that receives.
        return [.. target.Logs.Select(static line => line.Replace("|puma-receive|", "|.NET TP Worker|", StringComparison.Ordinal))];
    }

    private static void Configure(params LoggingRule[] rules)
    {
        var configuration = new LoggingConfiguration();
        foreach (LoggingRule rule in rules)
            configuration.LoggingRules.Add(rule);
        LogManager.Configuration = configuration;
    }

    private sealed class Says : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            Microsoft.Extensions.Logging.ILogger log = Context.Logger;
            log.LogInformation("item {Item} of {Name}, {Number:0.00}, {{x}}", item, "bob", 3.5);
            log.LogTrace("plain, with\na line break");
            log.LogWarning(new EventId(7, "seven"), "null {Value} {Values}", null, new[] { 1, 2 });
            log.LogDebug(new EventId(8), "{Wide,5}|{Time:yyyy}|{Flag}", 1, DateTime.UnixEpoch, true);
            using (log.BeginScope("order {Order}", 17))
            using (log.BeginScope(new Dictionary<string, object?> { ["where"] = "deep" }))
            using (log.BeginScope("text"))
                log.LogInformation("in scopes");
            try
            {
                Fail();
            }
            catch (InvalidOperationException error)
            {
                log.LogError(error, "failed with {Code}", 5);
            }

            log.LogCritical("throws {Bad}", new Throwing()); // as a property, NLog shows nothing of it, and a child why
            LogManager.GetLogger("Direct").Info("direct {0} {1}", item, "x");
            LogManager.GetLogger("Direct").Warn(new FormatException("bad"), "direct {Name}", "bob");
            using (ScopeContext.PushProperty("where", "nlog"))
            using (ScopeContext.PushNestedState("nested"))
            {
                LogManager.GetLogger("Direct").Fatal("in NLog's scopes");
                log.LogInformation("in NLog's scopes");
            }

            await Task.Yield();
            log.LogInformation("after a wait");
            Events.Seven(log, item);
            await EmitAsync(item, cancellationToken);
        }

        private static void Fail()
        {
            try
            {
                throw new FormatException("inner");
            }
            catch (FormatException error)
            {
                throw new InvalidOperationException("outer", error) { Data = { ["key"] = "value" } };
            }
        }
    }

    private sealed class Prints : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            Console.WriteLine("out \u001b[1m");
            return EmitAsync(Environment.ProcessId, cancellationToken);
        }
    }

    private sealed class Warns : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            Context.Logger.LogWarning("item {Item}", item);
            return EmitAsync(item, cancellationToken);
        }
    }

    private sealed class UsesNLogAtOnce : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            using var together = new Barrier(4);
            Thread[] threads = [.. Enumerable.Range(0, 4).Select(i => new Thread(() =>
            {
                together.SignalAndWait(CancellationToken.None);
                LogManager.GetLogger("First").Info(CultureInfo.InvariantCulture, "{0}", i);
            }))];
            foreach (Thread thread in threads)
                thread.Start();
            foreach (Thread thread in threads)
                thread.Join();
            return EmitAsync(item, cancellationToken);
        }
    }

    private sealed class ConfiguresNLog : Runnable<string, string>
    {
        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
        {
            LogManager.Setup().LoadConfiguration(builder => builder.ForLogger().WriteToFile(item));
            LogManager.Configuration = null;
            LogManager.GetLogger("Direct").Info("configured");
            return EmitAsync(item, cancellationToken);
        }
    }

    private sealed class InsistsInNLog(int times) : Runnable<string, string>
    {
        private int _left = times;

        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
        {
            using var file = new FileTarget { FileName = item };
            var own = new LoggingConfiguration();
            own.AddRuleForAllLevels(file);
            LogManager.ConfigurationChanged += (_, change) =>
            {
                if (change.ActivatedConfiguration != own && _left-- > 0)
                    LogManager.Configuration = own;
            };
            LogManager.Configuration = own;
            LogManager.GetLogger("Direct").Info("insisted");
            return EmitAsync(item, cancellationToken);
        }
    }

    private sealed class TellsLevels : Runnable<int, string>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            Logger direct = LogManager.GetLogger("Direct");
            Microsoft.Extensions.Logging.LogLevel level = Enum.GetValues<Microsoft.Extensions.Logging.LogLevel>().First(Context.Logger.IsEnabled);
            return EmitAsync($"{level} {NLog.LogLevel.AllLevels.First(direct.IsEnabled)}", cancellationToken);
        }
    }

    private sealed class Records((int Index, int Count) options) : SourceRunnable<int>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            for (int n = 1; n <= options.Count; n++)
                Context.Logger.LogInformation("record c={Index} n={Number}", options.Index, n);
            await EmitAsync(options.Count, stopToken);
        }
    }

    private sealed class Generation(int generation) : Runnable<int, int>
    {
        public static PipelineRun Run(int generation) => Pipeline.From([1])
            .Then(static o => new Generation(o), generation, new() { Name = "generation", Placement = Placement.ChildProcess })
            .ForEach(static _ => { })
            .Build(OneLog)
            .Start();

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            Context.Logger.LogInformation("{Generation} begins", generation);
            if (generation < 3)
            {
                await using PipelineRun run = Run(generation + 1);
                await run.Completion;
            }

            Context.Logger.LogInformation("{Generation} ends", generation);
            await EmitAsync(item, cancellationToken);
        }
    }

    private sealed class StallsInNLog : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            var late = new Late();
            Task stalled = Task.Run(() => LogManager.GetLogger("Direct").Info("late {0}", late), cancellationToken);
            await late.Entered.WaitAsync(cancellationToken);
            LogManager.GetLogger("Direct").Info("free");
            late.Go.Open();
            await stalled;
            await EmitAsync(item, cancellationToken);
        }

        private sealed class Late
        {
            public Gate Entered { get; } = new();

            public Gate Go { get; } = new();

            public override string ToString()
            {
                Entered.Open();
                Go.Block();
                return "value";
            }
        }
    }

    private sealed class Floods : Runnable<int, int>
    {
        public const int Records = 20_000, Errors = 20;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            for (int i = 0; i < Records; i++)
            {
                Context.Logger.LogDebug("debug {Number} {Text}", i, "and as much text as a record has that says what happened, where, and with which values");
                if (i % (Records / Errors) == 0)
                    Context.Logger.LogError("error {Number}", i);
            }

            return EmitAsync(item, cancellationToken);
        }
    }

    private sealed class Throwing
    {
        public override string ToString() => throw new FormatException();
    }
}

internal static partial class Events
{
    [LoggerMessage(Microsoft.Extensions.Logging.LogLevel.Information, EventId = 77, Message = "generated {Item}")]
    public static partial void Seven(Microsoft.Extensions.Logging.ILogger logger, int item);
}
