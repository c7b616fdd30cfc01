using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>An exception on its way through several processes: one cause, with its own type, file and line.</summary>
public sealed class HopTests : ChildTest
{
    [Fact] // S3, S4, S7, S17, Puma 127: the children behind end as if their input had completed, and only the cause is told
    public async Task AChainOfFourProcesses_TheFirstThrows_ThereIsOneCause()
    {
        ExpectFailure();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 100))
            .Then(static () => new ThrowsAt(), new() { Name = "first", Placement = Placement.ChildProcess })
            .Transform(static x => x + 1, new() { Name = "second", Placement = Placement.ChildProcess })
            .Transform(static x => x + 1, new() { Name = "third", Placement = Placement.ChildProcess })
            .Transform(static x => x + 1, new() { Name = "fourth", Placement = Placement.ChildProcess })
            .ForEach(seen.Add));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("first", 51L, 1), (fault.Stage, fault.ItemNumber, fault.Attempt));
        Assert.True(fault.IsCausedBy<FormatException>());
        var remote = Assert.IsType<RemoteRunnableException>(fault.InnerException);
        Assert.Equal(("System.FormatException", "item 51 has no form"), (remote.TypeName, remote.Message));
        Assert.Contains("HopTests.cs:line", remote.RemoteStackTrace, StringComparison.Ordinal);
        Assert.NotEqual(Environment.ProcessId, fault.ProcessId);
        Assert.Equal(Enumerable.Range(1, 50).Select(static x => x + 3), seen);
        PipelineReport report = await run.Report;
        Assert.Empty(report.SecondaryErrors);
        Assert.Same(fault, report.Cause);
        Assert.EndsWith(fault.Message, Assert.Single(Log.Records, static r => r.Level == LogLevel.Error).Message, StringComparison.Ordinal);
        Assert.Contains("FormatException: item 51 has no form", fault.Message, StringComparison.Ordinal);
    }

    [Fact] // S3, Puma 116: after three hops
    public async Task AnExceptionThreeProcessesDown_KeepsItsTypeFileAndLine()
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From([1]).Transform(Nested.RunAsync, new() { Name = "depth-1", Placement = Placement.ChildProcess }).ForEach(static _ => { }));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("depth-1", fault.Stage);
        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Equal(3, Chain(fault).OfType<RemoteRunnableException>().Select(static e => e.ProcessId).Distinct().Count());
        string text = fault.ToString();
        Assert.Contains("at the bottom", text, StringComparison.Ordinal);
        Assert.Contains("HopTests.cs:line", text, StringComparison.Ordinal);
        Assert.Contains("depth-3", text, StringComparison.Ordinal);
    }

    [Fact] // children may be nested three deep
    public async Task ChildrenNestedTooDeep_AreRefused_WithAReason()
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From([2]).Transform(Nested.RunAsync, new() { Name = "depth-1", Placement = Placement.ChildProcess }).ForEach(static _ => { }));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.True(fault.IsCausedBy<PipelineBuildException>());
        Assert.Contains("3 deep", fault.ToString(), StringComparison.Ordinal);
    }

    private static IEnumerable<Exception> Chain(Exception error)
    {
        for (Exception? e = error; e is not null; e = e.InnerException)
            yield return e;
    }

    private sealed class ThrowsAt : Runnable<int, int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) =>
            item == 51 ? throw new FormatException($"item {item} has no form") : EmitAsync(item, cancellationToken);
    }

    /// <summary>A pipeline in a child, whose stage is in a child of that.</summary>
    private static class Nested
    {
        /// <summary>Goes down; item 1 throws at depth 3, item 2 goes one deeper than is allowed.</summary>
        public static async ValueTask<int> RunAsync(int item)
        {
            int depth = int.Parse(Environment.GetEnvironmentVariable("PUMA_CHILD_DEPTH")!, System.Globalization.CultureInfo.InvariantCulture);
            if (item == 1 && depth == 3)
                throw new FormatException("at the bottom");
            await using PipelineRun run = Pipeline.From([item])
                .Transform(RunAsync, new() { Name = $"depth-{depth + 1}", Placement = Placement.ChildProcess })
                .ForEach(static _ => { })
                .Build(new() { LoggerFactory = NullLoggerFactory.Instance })
                .Start();
            await run.Completion;
            return item;
        }
    }
}
