using System.Globalization;
using Microsoft.Extensions.Logging;
using NLog;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>What user code logs in a child is in the log of its owner, whole and in order.</summary>
public sealed class ChildLogTests : ChildTest
{
    [Theory] // G19
    [InlineData(false)]
    [InlineData(true)]
    public async Task ARecord_ArrivesWithAllThatItSays(bool isChild)
    {
        using var capture = new Structured();
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static () => new Says(), new() { Name = "says", Placement = isChild ? Placement.ChildProcess : Placement.Loopback })
            .ForEach(static _ => { }), Options with { Name = "p", LoggerFactory = capture });

        await run.Completion.Within();

        Structured.Entry entry = Assert.Single(capture.Entries, static e => e.EventId.Id == 7);
        Assert.Equal(("Runnables.p.says", Microsoft.Extensions.Logging.LogLevel.Information, "seven"), (entry.Category, entry.Level, entry.EventId.Name));
        Assert.Equal("item 1 of bob, 3.50, {x}", entry.Message);
        Assert.Equal("item {Item} of {Name}, {Number:0.00}, {{x}}", entry.State["{OriginalFormat}"]);
        Assert.Equal((1, "bob", 3.5), (entry.State["Item"], entry.State["Name"], entry.State["Number"]));
        Assert.Equal(("says", 1L, "deep"), (entry.Scope["puma.stage"], entry.Scope["puma.item"], entry.Scope["where"]));
        Assert.Equal(isChild, (int)entry.Scope["puma.pid"]! != Environment.ProcessId);
        var error = Assert.IsType<RemoteRunnableException>(entry.Error);
        Assert.StartsWith("System.FormatException: bad", error.ToString(), StringComparison.Ordinal);
        Assert.Contains(nameof(Says), error.RemoteStackTrace, StringComparison.Ordinal);
    }

    [Fact] // by NLog itself, too; and what cannot be said is fatal to nobody
    public async Task NLogItself_AndStrangeValues_AreLogged()
    {
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static () => new Strange(), new() { Name = "strange", Placement = Placement.ChildProcess })
            .ForEach(static _ => { }));

        await run.Completion.Within();

        string[] lines = [.. Log.Records.Where(static r => r.Level == Microsoft.Extensions.Logging.LogLevel.Critical).Select(static r => r.Message)];
        Assert.Equal(
            [
                "direct 5",
                "a\nb {c}",
                "null: (null)",
                new string('x', 1_000_000),
            ],
            lines[..4]);
        Assert.Contains("throws", lines[4], StringComparison.Ordinal);
        Assert.Equal(["", "null names"], lines[5..]);
        Assert.Equal("Direct", Log.Records.First(static r => r.Message == "direct 5").Category);
    }

    [Fact] // S1: nothing is lost silently
    public async Task WhatAChildDropped_IsCounted_AlsoWhenItDies()
    {
        ExpectFailure();
        Expect(40);
        Expect(44);
        var dead = new Gate();
        using var log = new HookedLog(Log, (category, _) =>
        {
            if (category.StartsWith("Runnables", StringComparison.Ordinal))
                dead.Block();
        });
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static () => new FloodsAndDies(), new() { Name = "dies", Placement = Placement.ChildProcess })
            .ForEach(static _ => { }), Options with { LoggerFactory = log });
        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 42), "the child has started");
        await Waiting.UntilAsync(() => Children().Count == 0, "the child is dead");
        dead.Open();

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        var records = Log.Records.ToList();
        long dropped = records.Where(static r => r.EventId.Id == 44).Sum(static r => long.Parse(r.Message.Split(": ")[1].Split(' ')[0], CultureInfo.InvariantCulture));
        Assert.True(dropped > 0);
        Assert.Equal(FloodsAndDies.Records, dropped + records.Count(static r => r.Message.StartsWith("debug", StringComparison.Ordinal)));
        Assert.Equal(FloodsAndDies.Errors, records.Count(static r => r.Message.StartsWith("error", StringComparison.Ordinal)));
    }

    [Fact] // what the black box has no room for is told of as well
    public async Task WhatIsLostWithAChild_IsCounted()
    {
        ExpectFailure();
        Expect(40);
        Expect(44);
        Expect(46);
        var dead = new Gate();
        using var log = new HookedLog(Log, (category, _) =>
        {
            if (category.StartsWith("Runnables", StringComparison.Ordinal))
                dead.Block();
        });
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static () => new FillsTheBlackBoxAndDies(), new() { Name = "dies", Placement = Placement.ChildProcess })
            .ForEach(static _ => { }), Options with { LoggerFactory = log });
        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == 42), "the child has started");
        await Waiting.UntilAsync(() => Children().Count == 0, "the child is dead");
        dead.Open();

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.True(Told(46) > 0);
        Assert.Equal(FillsTheBlackBoxAndDies.Records, Told(44) + Told(46) + Log.Records.Count(static r => r.Message.StartsWith("fills", StringComparison.Ordinal)));

        long Told(int id) => Log.Records.Where(r => r.EventId.Id == id).Sum(static r => long.Parse(r.Message.Split(": ")[1].Split(' ')[0], CultureInfo.InvariantCulture));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ValuesThatCannotBeRead_LeaveAWordThatSaysWhy(bool isChild)
    {
        using var capture = new Structured();
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static inScopeToo => new LogsUnreadable(inScopeToo), isChild, new() { Name = "unreadable", Placement = isChild ? Placement.ChildProcess : Placement.InProcess })
            .ForEach(static _ => { }), Options with { LoggerFactory = capture });

        await run.Completion.Within();

        Structured.Entry entry = Assert.Single(capture.Entries, static e => e.Message == "state");
        Assert.Equal((1, "(could not be read: FormatException)"), (entry.State["one"], entry.State["puma.unreadable"]));
        if (!isChild)
            return;

        // In process, scopes are read by the application's logging.
        entry = Assert.Single(capture.Entries, static e => e.Message == "in a scope");
        Assert.Equal((1, "(could not be read: FormatException)"), (entry.Scope["one"], entry.Scope["puma.unreadable"]));
    }

    [Fact] // whoever logs may wait for room; what makes room must not need the same threads
    public async Task ManyThreadsOfThePool_ThatLog_WaitForNoneOfThemselves()
    {
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static () => new LogsFromThePool(), new() { Name = "pool", Placement = Placement.ChildProcess })
            .ForEach(static _ => { }));

        await run.Completion.Within();

        Assert.Equal(LogsFromThePool.Tasks * LogsFromThePool.Records, Log.Records.Count(static r => r.Message.StartsWith("task", StringComparison.Ordinal)));
    }

    [Theory] // what cannot be read fails nobody, wherever it is logged
    [InlineData(false)]
    [InlineData(true)]
    public async Task StatesAndScopesThatThrow_AreLoggedAsFarAsTheyCanBe(bool isChild)
    {
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static () => new LogsWhatThrows(), new() { Name = "throws", Placement = isChild ? Placement.ChildProcess : Placement.InProcess })
            .ForEach(static _ => { }));

        await run.Completion.Within();

        string[] lines = [.. Log.Records.Where(static r => r.Level == Microsoft.Extensions.Logging.LogLevel.Critical).Select(static r => r.Message)];
        Assert.Equal(3, lines.Length);
        Assert.Contains("{A} {B}", lines[0], StringComparison.Ordinal);
        Assert.Equal(["in a scope", "state"], lines[1..]);
    }

    [Fact] // the application's logging may take its time, which is that of the start
    public async Task ALoggerThatBlocksWhenItIsAsked_IsAStartThatTakesTooLong()
    {
        ExpectFailure();
        Expect(40);
        Gate asked = new(), go = new();
        using var log = new Asked(Log, asked, go);
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static () => new LogsEach(), new() { Name = "asks", Placement = Placement.ChildProcess with { StartTimeout = TimeSpan.FromSeconds(1) } })
            .ForEach(static _ => { }), Options with { LoggerFactory = log });
        await asked.WaitAsync();
        await Waiting.UntilAsync(() => Children().Count == 0, "the child was killed");
        go.Open();

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
        Assert.Equal("asks", fault.Stage);
    }

    [Theory] // a burst, then the end of the process: nothing of it is lost, and its order is kept
    [InlineData(false)]
    [InlineData(true)]
    public async Task WhatWasLoggedBeforeTheChildWasKilled_IsInTheLog(bool isStackOverflow)
    {
        ExpectFailure();
        Expect(40);
        PipelineRun run = Start(Pipeline.From([isStackOverflow])
            .Then(static () => new LogsAndDies(), new() { Name = "dies", Placement = Placement.ChildProcess })
            .ForEach(static _ => { }));

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(Enumerable.Range(1, 1000).Select(static n => $"last {n}"), Log.Records.Select(static r => r.Message).Where(static m => m.StartsWith("last ", StringComparison.Ordinal)));
    }

    [Fact] // a logger that takes its time holds up neither items nor the child's other messages
    public async Task ALoggerThatStalls_StopsNothing()
    {
        var stalled = new Gate();
        var go = new Gate();
        var seen = new Gate();
        using var log = new Stalling(Log, () =>
        {
            stalled.Open();
            go.Block();
        });
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Then(static () => new LogsEach(), new() { Name = "logs", Placement = Placement.ChildProcess, ItemTimeout = TimeSpan.FromSeconds(1) })
            .ForEach(x =>
            {
                if (x == 3)
                    seen.Open();
            }), FakeTimeOptions with { LoggerFactory = log });
        await stalled.WaitAsync();

        // All items are through while the first line is not written; then the time that none of them took goes by.
        await seen.WaitAsync();
        Time.Advance(TimeSpan.FromMinutes(1));
        go.Open();

        PipelineReport report = await run.Completion.Within();
        Assert.Equal((3, 0), (report.Stage("logs").Delivered, report.Stage("logs").Restarts));
        Assert.Equal(["line 1", "line 2", "line 3"], Log.Records.Select(static r => r.Message).Where(static m => m.StartsWith("line ", StringComparison.Ordinal)));
    }

    private sealed class Says : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            using (Context.Logger.BeginScope(new Dictionary<string, object?> { ["where"] = "deep" }))
            {
                try
                {
                    throw new FormatException("bad");
                }
                catch (FormatException error)
                {
                    Context.Logger.LogInformation(new EventId(7, "seven"), error, "item {Item} of {Name}, {Number:0.00}, {{x}}", item, "bob", 3.5);
                }
            }

            return EmitAsync(item, cancellationToken);
        }
    }

    private sealed class Strange : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            LogManager.GetLogger("Direct").Fatal("direct {0}", 5);
            Context.Logger.LogCritical("a\nb {Value}", "{c}");
            Context.Logger.LogCritical("null: {Value}", (object?)null);
            Context.Logger.LogCritical("{Text}", new string('x', 1_000_000));
            Context.Logger.LogCritical("throws {Value}", new Throwing());
            Context.Logger.Log<string?>(Microsoft.Extensions.Logging.LogLevel.Critical, default, null, null, static (_, _) => null!);
            using (Context.Logger.BeginScope(new KeyValuePair<string, object?>[] { new(null!, 1) }))
                Context.Logger.Log(Microsoft.Extensions.Logging.LogLevel.Critical, default, new KeyValuePair<string, object?>[] { new(null!, 1) }, null, static (_, _) => "null names");
            return EmitAsync(item, cancellationToken);
        }
    }

    private sealed class FloodsAndDies : Runnable<int, int>
    {
        public const int Records = 20_000, Errors = 10;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            for (int i = 0; i < Records; i++)
            {
                Context.Logger.LogDebug("debug {Number} {Text}", i, "and as much text as a record has that says what happened, where, and with which values");
                if (i % (Records / Errors) == 0)
                    Context.Logger.LogError("error {Number}", i);
            }

            using var self = System.Diagnostics.Process.GetCurrentProcess();
            self.Kill();
            Thread.Sleep(Timeout.Infinite);
            return default;
        }
    }

    private sealed class LogsFromThePool : Runnable<int, int>
    {
        public const int Tasks = 32, Records = 400;

        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await Task.WhenAll(Enumerable.Range(0, Tasks).Select(t => Task.Run(
                () =>
                {
                    for (int i = 0; i < Records; i++)
                        Context.Logger.LogInformation("task {Task} {Number} {Text}", t, i, new string('x', 400));
                },
                cancellationToken)));
            await EmitAsync(item, cancellationToken);
        }
    }

    private sealed class LogsWhatThrows : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
#pragma warning disable CA2017 // Fewer values than names is what this is about.
            Context.Logger.LogCritical("{A} {B}", 1);
#pragma warning restore CA2017
            using (Context.Logger.BeginScope(LogsUnreadable.Unreadable()))
                Context.Logger.LogCritical("in a scope");
            Context.Logger.Log(Microsoft.Extensions.Logging.LogLevel.Critical, default, LogsUnreadable.Unreadable(), null, static (_, _) => "state");
            return EmitAsync(item, cancellationToken);
        }
    }

    private sealed class LogsUnreadable(bool inScopeToo) : Runnable<int, int>
    {
        public static IEnumerable<KeyValuePair<string, object?>> Unreadable()
        {
            yield return new("one", 1);
            throw new FormatException();
        }

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            Context.Logger.Log(Microsoft.Extensions.Logging.LogLevel.Critical, default, Unreadable(), null, static (_, _) => "state");
            if (inScopeToo)
            {
                using (Context.Logger.BeginScope(Unreadable()))
                    Context.Logger.LogCritical("in a scope");
            }

            return EmitAsync(item, cancellationToken);
        }
    }

    /// <summary>Of each level more than makes all of the levels below leave the backlog, so that the black box is full of what was dropped.</summary>
    private sealed class FillsTheBlackBoxAndDies : Runnable<int, int>
    {
        private const int OfEachLevel = 800;

        public const int Records = 6 * OfEachLevel;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            string text = new('x', 400);
            for (int i = 0; i < Records; i++)
                Context.Logger.Log((Microsoft.Extensions.Logging.LogLevel)(i / OfEachLevel), "fills {Number} {Text}", i, text);
            using var self = System.Diagnostics.Process.GetCurrentProcess();
            self.Kill();
            Thread.Sleep(Timeout.Infinite);
            return default;
        }
    }

    private sealed class Throwing
    {
        public override string ToString() => throw new FormatException();
    }

    private sealed class LogsAndDies : Runnable<bool, bool>
    {
        protected override ValueTask OnItemAsync(bool isStackOverflow, CancellationToken cancellationToken)
        {
            for (int i = 1; i <= 1000; i++)
                Context.Logger.LogInformation("last {Number}", i);
            if (isStackOverflow)
                Overflow(1);
            using var self = System.Diagnostics.Process.GetCurrentProcess();
            self.Kill();
            Thread.Sleep(Timeout.Infinite);
            return default;
        }

        private static int Overflow(int depth) => Overflow(depth + 1) + depth;
    }

    private sealed class LogsEach : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            Context.Logger.LogInformation("line {Number}", item);
            return EmitAsync(item, cancellationToken);
        }
    }

    /// <summary>Loggers of which the first record takes its time.</summary>
    private sealed class Stalling(LogRecorder inner, Action stall) : ILoggerFactory
    {
        private int _hasStalled;

        public Microsoft.Extensions.Logging.ILogger CreateLogger(string categoryName) => new Logger(this, inner.CreateLogger(categoryName));

        public void AddProvider(ILoggerProvider provider) => inner.AddProvider(provider);

        public void Dispose() { }

        private void Stall()
        {
            if (Interlocked.Exchange(ref _hasStalled, 1) == 0)
                stall();
        }

        private sealed class Logger(Stalling owner, Microsoft.Extensions.Logging.ILogger logger) : Microsoft.Extensions.Logging.ILogger
        {
            public IDisposable? BeginScope<TState>(TState state)
                where TState : notnull => null;

            public bool IsEnabled(Microsoft.Extensions.Logging.LogLevel logLevel) => true;

            public void Log<TState>(Microsoft.Extensions.Logging.LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            {
                if (formatter(state, exception).StartsWith("line ", StringComparison.Ordinal))
                    owner.Stall();
                logger.Log(logLevel, eventId, state, exception, formatter);
            }
        }
    }

    /// <summary>Loggers that are asked of a child's category only when the gate is open.</summary>
    private sealed class Asked(LogRecorder inner, Gate asked, Gate go) : ILoggerFactory
    {
        private int _asked;

        public Microsoft.Extensions.Logging.ILogger CreateLogger(string categoryName)
        {
            // First by the run, for the stage.
            if (categoryName.EndsWith(".asks", StringComparison.Ordinal) && Interlocked.Increment(ref _asked) > 1)
            {
                asked.Open();
                go.Block();
            }

            return inner.CreateLogger(categoryName);
        }

        public void AddProvider(ILoggerProvider provider) => inner.AddProvider(provider);

        public void Dispose() { }
    }

    /// <summary>Keeps states and scopes.</summary>
    private sealed class Structured : ILoggerFactory
    {
        private readonly LoggerExternalScopeProvider _scopes = new();

        public System.Collections.Concurrent.ConcurrentQueue<Entry> Entries { get; } = [];

        public Microsoft.Extensions.Logging.ILogger CreateLogger(string categoryName) => new Logger(this, categoryName);

        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

        public void Dispose() { }

        public sealed record Entry(string Category, Microsoft.Extensions.Logging.LogLevel Level, EventId EventId, string Message, Dictionary<string, object?> State, Dictionary<string, object?> Scope, Exception? Error);

        private sealed class Logger(Structured owner, string category) : Microsoft.Extensions.Logging.ILogger
        {
            public IDisposable? BeginScope<TState>(TState state)
                where TState : notnull => owner._scopes.Push(state);

            public bool IsEnabled(Microsoft.Extensions.Logging.LogLevel logLevel) => true;

            public void Log<TState>(Microsoft.Extensions.Logging.LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            {
                Dictionary<string, object?> scope = [];
                owner._scopes.ForEachScope(static (value, all) =>
                {
                    foreach ((string key, object? v) in value as IEnumerable<KeyValuePair<string, object?>> ?? [])
                        all[key] = v;
                }, scope);
                owner.Entries.Enqueue(new Entry(category, logLevel, eventId, formatter(state, exception), (state as IEnumerable<KeyValuePair<string, object?>> ?? []).ToDictionary(static p => p.Key, static p => p.Value), scope, exception));
            }
        }
    }
}
