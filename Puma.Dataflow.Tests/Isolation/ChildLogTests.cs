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

    [Fact] // it takes its time, and many children start at once
    public async Task AChildThatDoesNotUseNLog_DoesNotLoadIt()
    {
        var loaded = new List<bool>();
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static () => new LooksForNLog(), new() { Name = "looks", Placement = Placement.ChildProcess })
            .ForEach(loaded.Add));

        await run.Completion.Within();

        Assert.Equal([false], loaded);
        Assert.Contains(Log.Records, static r => r.Message == "looks");
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

    private sealed class LooksForNLog : Runnable<int, bool>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            using (Context.Logger.BeginScope("scope"))
                Context.Logger.LogInformation(new FormatException(), "looks");
            return EmitAsync(Array.Exists(AppDomain.CurrentDomain.GetAssemblies(), static a => a.GetName().Name == "NLog"), cancellationToken);
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
