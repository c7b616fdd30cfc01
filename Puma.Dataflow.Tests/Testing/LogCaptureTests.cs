using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Testing;

public sealed class LogCaptureTests : ChildTest
{
    [Fact]
    public async Task ARunWithAChildProcess_IsKeptWithWhatTheChildLogs()
    {
        using var capture = new LogCapture();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([1, -2, 3])
            .Then(static o => new Talks(o), new TalksOptions("negative"), new() { Name = "talks", Placement = Placement.ChildProcess })
            .ForEach(seen.Add), new() { Name = "numbers", LoggerFactory = capture });

        await run.Completion.Within();

        Assert.Equal([1, -2, 3], seen);
        Assert.Equal(["item 1", "item -2 is negative", "item 3"], Messages(capture.Select(category: "Runnables.numbers.talks")));
        FakeLogRecord warning = Assert.Single(capture.Select(LogLevel.Warning));
        Assert.Equal((LogLevel.Warning, 7, "Runnables.numbers.talks", "item -2 is negative"), (warning.Level, warning.Id.Id, warning.Category, warning.Message));
        Assert.Contains("below zero", warning.Exception!.Message, StringComparison.Ordinal);
        Assert.NotEmpty(capture.Select(LogLevel.Debug, category: "Puma.Dataflow.numbers", text: "Run of 'numbers' ended"));
        capture.AssertNothingAtOrAbove(LogLevel.Warning, static r => r.Id.Id == 7);
        string message = Assert.Throws<ProbeException>(() => capture.AssertNothingAtOrAbove()).Message;
        Assert.Contains("Warning Runnables.numbers.talks: item -2 is negative", message, StringComparison.Ordinal);
        Assert.Contains("below zero", message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TwoRunsOfOnePipeline_AreToldApartByNesting()
    {
        using var capture = new LogCapture();
        Pipeline pipeline = Pipeline.From([-1]).Then(static o => new Talks(o), new TalksOptions("negative"), new() { Name = "talks" }).ForEach(static _ => { }).Build(new() { LoggerFactory = capture });

        using (LogCapture inner = capture.Nest(shields: true))
        {
            await Watch(pipeline.Start()).Completion.Within();
            Assert.Single(inner.Select(LogLevel.Warning));
        }

        capture.AssertNothingAtOrAbove();
        await Watch(pipeline.Start()).Completion.Within();
        Assert.Single(capture.Select(LogLevel.Warning));
    }

    [Fact]
    public void Record_HasWhatWasLogged()
    {
        using var capture = new LogCapture();
        ILogger logger = capture.CreateLogger("Disks"), other = capture.CreateLogger("Files");
        var error = new FormatException("broken");

        using (logger.BeginScope("outside"))
        using (other.BeginScope(new Dictionary<string, object> { ["Item"] = 5 }))
            logger.Log(LogLevel.Error, new EventId(3, "Full"), error, "disk {Disk} has {Free} bytes", "a", 12);
        logger.LogInformation("later");

        Assert.Equal(2, capture.Records.Count);
        FakeLogRecord record = capture.Records[0];
        Assert.Equal((LogLevel.Error, new EventId(3, "Full"), "Disks", "disk a has 12 bytes"), (record.Level, record.Id, record.Category, record.Message));
        Assert.Same(error, record.Exception);
        Assert.Equal(("a", "12"), (record.GetStructuredStateValue("Disk"), record.GetStructuredStateValue("Free")));
        Assert.Equal(2, record.Scopes.Count);
        Assert.Equal("outside", record.Scopes[0]);
        Assert.Equal(5, Assert.IsType<Dictionary<string, object>>(record.Scopes[1])["Item"]);
        Assert.Empty(capture.Records[1].Scopes);
    }

    [Fact]
    public void Lines_AreLevelCategoryMessageAndException()
    {
        using var capture = new LogCapture();
        var error = new FormatException("broken");
        capture.CreateLogger("A").LogTrace("first");
        capture.CreateLogger("B.C").LogCritical(error, "second");
        capture.CreateLogger("").LogInformation("third");

        Assert.Equal(["Trace A: first", $"Critical B.C: second{Environment.NewLine}{error}", "Information : third"], capture.Lines());
    }

    [Theory]
    [InlineData(LogLevel.Trace, null, null, "0 1 2 3 4 5")]
    [InlineData(LogLevel.Warning, null, null, "3 4 5")]
    [InlineData(LogLevel.Critical, null, null, "5")]
    [InlineData(LogLevel.None, null, null, "")]
    [InlineData(LogLevel.Trace, "Runnables.", null, "1 3 5")]
    [InlineData(LogLevel.Trace, "runnables.", null, "")]
    [InlineData(LogLevel.Trace, "", "", "0 1 2 3 4 5")]
    [InlineData(LogLevel.Trace, null, "disk 4", "4")]
    [InlineData(LogLevel.Trace, null, "DISK", "")]
    [InlineData(LogLevel.Trace, null, "disk", "0 1 2 3 4 5")]
    [InlineData(LogLevel.Information, "Runnables.p.s", "disk 3", "3")]
    [InlineData(LogLevel.Error, "Runnables.p.s", "disk 3", "")]
    public void Select_TakesWhatMeetsAllConditions(LogLevel level, string? category, string? text, string found)
    {
        using var capture = new LogCapture();
        ILogger library = capture.CreateLogger("Puma.Dataflow.p"), user = capture.CreateLogger("Runnables.p.s");
        for (LogLevel l = LogLevel.Trace; l < LogLevel.None; l++)
            ((int)l % 2 == 0 ? library : user).Log(l, "disk {Number} is full", (int)l);

        Assert.Equal(found, string.Join(' ', capture.Select(level, category, text).Select(static r => r.GetStructuredStateValue("Number"))));
    }

    [Fact]
    public void MinimumLevel_HoldsForLoggersAndNestedCaptures()
    {
        using var capture = new LogCapture(LogLevel.Information);
        using LogCapture inner = capture.Nest();
        ILogger logger = capture.CreateLogger("A");

        bool[] enabled = [.. Enum.GetValues<LogLevel>().Select(logger.IsEnabled)];
        logger.LogDebug("debug");
        logger.LogInformation("information");
        logger.Log(LogLevel.None, "none");
        inner.CreateLogger("A").LogDebug("debug");

        Assert.Equal([false, false, true, true, true, true, false], enabled);
        Assert.Equal(["information"], Messages(capture.Records));
        Assert.Equal(["information"], Messages(inner.Records));
    }

    [Fact]
    public void MinimumLevelNone_KeepsNothing()
    {
        using var capture = new LogCapture(LogLevel.None);
        capture.CreateLogger("A").LogCritical("critical");

        Assert.Empty(capture.Records);
        Assert.DoesNotContain(Enum.GetValues<LogLevel>(), capture.CreateLogger("A").IsEnabled);
    }

    [Fact]
    public void Nested_KeepsWhatIsLoggedWhileItIsOpen()
    {
        using var capture = new LogCapture();
        ILogger logger = capture.CreateLogger("A");
        logger.LogInformation("before");
        LogCapture inner = capture.Nest();
        logger.LogInformation("one");
        LogCapture innermost = inner.Nest();
        logger.LogInformation("two");
        innermost.Dispose();
        logger.LogInformation("three");
        inner.Dispose();
        logger.LogInformation("after");

        Assert.Equal(["before", "one", "two", "three", "after"], Messages(capture.Records));
        Assert.Equal(["one", "two", "three"], Messages(inner.Records));
        Assert.Equal(["two"], Messages(innermost.Records));
        Assert.Same(capture.Records[2], inner.Records[1]);
        Assert.Same(capture.Records[2], innermost.Records[0]);
    }

    [Fact]
    public void Shielding_KeepsRecordsFromAllAroundWhileItIsOpen()
    {
        using var capture = new LogCapture();
        using LogCapture middle = capture.Nest();
        LogCapture shield = middle.Nest(shields: true);
        using LogCapture innermost = shield.Nest();
        ILogger logger = capture.CreateLogger("A");

        logger.LogError("expected");
        shield.Dispose();
        logger.LogError("not expected");

        Assert.Equal(["expected"], Messages(shield.Records));
        Assert.Equal(["expected", "not expected"], Messages(innermost.Records));
        Assert.Equal(["not expected"], Messages(middle.Records));
        Assert.Equal(["not expected"], Messages(capture.Records));
    }

    [Fact]
    public void Shielding_ByOneOfTwoBesideEachOther_DoesNotHideFromTheOther()
    {
        using var capture = new LogCapture();
        using LogCapture shield = capture.Nest(shields: true), other = capture.Nest();

        capture.CreateLogger("A").LogError("for both");
        other.CreateLogger("A").LogError("for the other");
        shield.CreateLogger("A").LogError("for the shield");

        Assert.Equal(["for both", "for the shield"], Messages(shield.Records));
        Assert.Equal(["for both", "for the other"], Messages(other.Records));
        Assert.Equal(["for the other"], Messages(capture.Records));
    }

    [Fact]
    public void LoggerOfANestedCapture_LogsToItAndThoseInItAndAroundIt()
    {
        using var capture = new LogCapture();
        using LogCapture inner = capture.Nest(), innermost = inner.Nest(), beside = capture.Nest();
        ILogger logger = inner.CreateLogger("A");

        using (capture.CreateLogger("B").BeginScope("scope"))
            logger.LogInformation("one");
        inner.Dispose();
        logger.LogInformation("two");

        Assert.Equal(["one"], Messages(inner.Records));
        Assert.Equal(["one", "two"], Messages(innermost.Records));
        Assert.Equal(["one", "two"], Messages(capture.Records));
        Assert.Empty(beside.Records);
        Assert.Equal(["scope"], capture.Records[0].Scopes);
    }

    [Theory]
    [InlineData("0 1 2")]
    [InlineData("0 2 1")]
    [InlineData("1 0 2")]
    [InlineData("1 2 0")]
    [InlineData("2 0 1")]
    [InlineData("2 1 0")]
    public void Disposal_InAnyOrder_EndsThatCaptureAlone(string order)
    {
        var capture = new LogCapture();
        LogCapture inner = capture.Nest();
        LogCapture[] captures = [capture, inner, inner.Nest()];
        ILogger logger = capture.CreateLogger("A");
        List<string>[] expected = [[], [], []];
        HashSet<int> open = [0, 1, 2];

        foreach (int next in order.Split(' ').Select(int.Parse))
        {
            Write();
            captures[next].Dispose();
            captures[next].Dispose();
            open.Remove(next);
        }

        Write();
        Assert.All(captures, (c, i) => Assert.Equal(expected[i], Messages(c.Records)));

        void Write()
        {
            string text = $"open: {string.Join(' ', open)}";
            logger.LogInformation("{Text}", text);
            foreach (int i in open)
                expected[i].Add(text);
        }
    }

    [Fact]
    public void AShieldAroundWhichTheMiddleIsDisposedOf_GoesOnShielding()
    {
        using var capture = new LogCapture();
        LogCapture middle = capture.Nest();
        using LogCapture shield = middle.Nest(shields: true);
        middle.Dispose();

        capture.CreateLogger("A").LogError("expected");

        Assert.Single(shield.Records);
        Assert.Empty(middle.Records);
        capture.AssertNothingAtOrAbove();
    }

    [Fact]
    public void ADisposedCapture_TakesLoggersButNoNestedCapture()
    {
        var capture = new LogCapture();
        capture.CreateLogger("A").LogError("one");
        capture.Dispose();

        capture.CreateLogger("A").LogError("two");

        Assert.Equal(["one"], Messages(capture.Records));
        Assert.Throws<ProbeException>(() => capture.AssertNothingAtOrAbove());
        Assert.Throws<ObjectDisposedException>(() => capture.Nest());
    }

    [Fact]
    public void Assertion_FailsForEachRecordFromItsLevelOnAndListsThem()
    {
        using var capture = new LogCapture();
        ILogger logger = capture.CreateLogger("A");
        logger.LogInformation("fine");
        capture.AssertNothingAtOrAbove();
        logger.LogWarning("bad");
        logger.LogCritical(new FormatException("broken"), "worse");

        capture.AssertNothingAtOrAbove(LogLevel.None);
        string message = Assert.Throws<ProbeException>(() => capture.AssertNothingAtOrAbove()).Message;
        Assert.Equal(["Nothing was expected in the log at Warning or above, but there is:", "Warning A: bad", "Critical A: worse", "System.FormatException: broken"], message.Split(Environment.NewLine));

        message = Assert.Throws<ProbeException>(() => capture.AssertNothingAtOrAbove(LogLevel.Error)).Message;
        Assert.Contains("worse", message, StringComparison.Ordinal);
        Assert.DoesNotContain("bad", message, StringComparison.Ordinal);
        Assert.Contains("Information A: fine", Assert.Throws<ProbeException>(() => capture.AssertNothingAtOrAbove(LogLevel.Information)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Assertion_AllowsWhatIsExpected()
    {
        using var capture = new LogCapture();
        ILogger logger = capture.CreateLogger("A");
        logger.LogDebug("below");
        logger.LogWarning("bad");
        logger.LogError("worse");
        List<string> asked = [];

        capture.AssertNothingAtOrAbove(expected: static r => r.Message is "bad" or "worse");
        string message = Assert.Throws<ProbeException>(() => capture.AssertNothingAtOrAbove(expected: r =>
        {
            asked.Add(r.Message);
            return r.Message == "bad";
        })).Message;

        Assert.EndsWith($"there is:{Environment.NewLine}Error A: worse", message, StringComparison.Ordinal);
        Assert.Equal(["bad", "worse"], asked);
        Assert.Throws<FormatException>(() => capture.AssertNothingAtOrAbove(expected: static _ => throw new FormatException()));
    }

    [Fact] // An assertion that cannot fail is worse than none.
    public void Assertion_BelowTheMinimumLevel_IsRefused()
    {
        using var capture = new LogCapture(LogLevel.Error);
        capture.CreateLogger("A").LogWarning("not kept");

        Assert.Throws<ArgumentOutOfRangeException>("level", () => capture.AssertNothingAtOrAbove());
        Assert.Throws<ArgumentOutOfRangeException>("level", () => capture.Nest().AssertNothingAtOrAbove());
        capture.AssertNothingAtOrAbove(LogLevel.Error);
    }

    [Fact]
    public void OtherProviders_AreRefused()
    {
        using var capture = new LogCapture();
        using var provider = new FakeLoggerProvider();

        Assert.Throws<NotSupportedException>(() => capture.AddProvider(provider));
    }

    [Fact]
    public async Task ManyThreads_LoseNothingAndSeeOneOrder()
    {
        const int Threads = 8, Count = 500;
        using var capture = new LogCapture();
        using LogCapture inner = capture.Nest();
        var go = new Gate();

        Task[] threads = [.. Enumerable.Range(0, Threads).Select(t => Task.Run(
            async () =>
            {
                ILogger logger = (t % 2 == 0 ? capture : inner).CreateLogger("A");
                await go.WaitAsync(TestToken);
                for (int i = 0; i < Count; i++)
                {
                    using LogCapture own = inner.Nest();
                    logger.LogInformation("{Thread} {Number}", t, i);
                    Assert.Contains($"{t} {i}", Messages(own.Records));
                }
            },
            TestToken))];
        go.Open();
        await Task.WhenAll(threads).Within();

        Assert.Equal(Threads * Count, capture.Records.Count);
        Assert.Equal(inner.Records, capture.Records);
        foreach (int t in Enumerable.Range(0, Threads))
            Assert.Equal(Enumerable.Range(0, Count).Select(i => $"{t} {i}"), Messages(capture.Select(text: $"{t} ")).Where(m => m.StartsWith($"{t} ", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task AMessageThatIsBeingFormatted_HoldsUpNobody()
    {
        using var capture = new LogCapture();
        ILogger logger = capture.CreateLogger("A");
        Gate entered = new(), leave = new();

        Task slow = Task.Run(
            () => logger.Log(LogLevel.Information, default, 0, null, (_, _) =>
            {
                entered.Open();
                leave.Block();
                return "slow";
            }),
            TestToken);
        await entered.WaitAsync(TestToken);
        logger.LogInformation("quick");
        Assert.Equal(["quick"], Messages(capture.Records));
        leave.Open();
        await slow.Within();

        Assert.Equal(["quick", "slow"], Messages(capture.Records));
    }

    [Fact]
    public void ALogger_ThatIsUsedWhileItFormats_LogsBoth()
    {
        using var capture = new LogCapture();
        ILogger logger = capture.CreateLogger("A");

        logger.Log(LogLevel.Information, default, 0, null, (_, _) =>
        {
            logger.LogInformation("inside");
            return "outside";
        });
        Assert.Throws<FormatException>(() => logger.Log(LogLevel.Information, default, 0, null, static (_, _) => throw new FormatException()));

        Assert.Equal(["inside", "outside"], Messages(capture.Records));
    }

    private static IEnumerable<string> Messages(IEnumerable<FakeLogRecord> records) => records.Select(static r => r.Message);

    private sealed record TalksOptions(string Word);

    private sealed class Talks(TalksOptions options) : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            if (item < 0)
                Context.Logger.LogWarning(new EventId(7), new FormatException("below zero"), "item {Item} is {Word}", item, options.Word);
            else
                Context.Logger.LogInformation("item {Item}", item);
            return EmitAsync(item, cancellationToken);
        }
    }
}
