using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Testing;
using Puma.Dataflow;
using Puma.Dataflow.Testing;

namespace Snippets;

#region logging-runnable
public sealed class Doubler : Runnable<int, int>
{
    protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
    {
        if (item < 0)
            Context.Logger.LogWarning("Item {Number} is negative: {Item}", Context.ItemNumber, item);
        return EmitAsync(item * 2, cancellationToken);
    }
}
#endregion

internal static class OtherSnippets
{
    public static async Task RunAsync()
    {
        ILoggerFactory hostLoggers = NullLoggerFactory.Instance;

        #region logging-host
        Pipeline pipeline = Pipeline.From([1, -2])
            .Then(static () => new Doubler(), new() { Name = "double" })
            .ForEach(static x => { })
            .Build(new PipelineOptions { Name = "numbers", LoggerFactory = hostLoggers });
        #endregion

        await pipeline.Start().Completion;
        await Harness();
        await Probes();
        await Calls();
        await Logs();
    }

    private static async Task Harness()
    {
        #region testing-harness
        await using RunnableHarness<int, int> harness = RunnableHarness.For(static () => new Doubler());
        await harness.StartAsync();
        IReadOnlyList<int> outputs = await harness.SendAsync(-3);
        PipelineReport report = await harness.CompleteAsync();
        #endregion

        Check.That(outputs.SequenceEqual([-6]) && report.State == RunState.Completed);
        Check.That(harness.Log.Records.Any(static r => r.Level == LogLevel.Warning));
    }

    private static async Task Probes()
    {
        #region testing-probes
        var source = new SourceProbe<int>();
        var sink = new SinkProbe<int>();
        var log = new LogRecorder();
        await using PipelineRun run = Pipeline.From(source)
            .Transform(static x => x + 1, new() { Name = "add", BoundedCapacity = 1 })
            .To(sink, new() { BoundedCapacity = 1 })
            .Build(new() { LoggerFactory = log })
            .Start();

        await source.SendAsync(1);
        int received = await sink.NextAsync();
        source.Complete();
        PipelineReport report = await run.Completion;
        report.AssertConserved();
        #endregion

        Check.That(received == 2 && log.Records.Count > 0);
    }

    private static async Task Calls()
    {
        #region testing-calls
        var source = new SourceProbe<double>();
        var sink = new SinkProbe<double>();
        await using PipelineRun run = Pipeline.From(source)
            .Then(static () => new Smoother(), new() { Name = "smooth", Placement = Placement.Loopback })
            .To(sink)
            .Build()
            .Start();
        ISmootherControl smoother = run.Control<ISmootherControl>("smooth");

        await source.SendAsync(1);
        double first = await sink.NextAsync(); // its output is here, so the next call comes after the item
        await smoother.SetWindowAsync(1);
        await source.SendAsync(5);
        double second = await sink.NextAsync(); // 5: of a window of one reading
        source.Complete();
        await run.Completion;
        #endregion

        Check.That(first == 1 && second == 5);
    }

    private static async Task Logs()
    {
        #region testing-logs
        using var capture = new LogCapture();
        Pipeline pipeline = Pipeline.From([1, -2])
            .Then(static () => new Doubler(), new() { Name = "double" })
            .ForEach(static x => { })
            .Build(new() { LoggerFactory = capture });
        using (LogCapture inner = capture.Nest(shields: true))
        {
            await pipeline.Start().Completion;
            IReadOnlyList<FakeLogRecord> warnings = inner.Select(LogLevel.Warning, category: "Runnables.", text: "negative");
            inner.AssertNothingAtOrAbove(LogLevel.Warning, expected: warnings.Contains);
        }

        capture.AssertNothingAtOrAbove();
        #endregion

        Check.That(capture.Records.Count == 0);
    }
}
