using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Puma.Dataflow.Testing;

namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>
/// The base of all tests of runs. A test fails when the library logged at Warning or above something that the test did not expect,
/// when a run is out of balance, or when a task's exception was never observed.
/// </summary>
public abstract class PipelineTest : IAsyncLifetime
{
    private readonly ConcurrentQueue<(int EventId, Func<LogRecord, bool> Predicate)> _expected = [];
    private readonly ConcurrentQueue<PipelineRun> _runs = [];

    /// <summary>Everything that the runs of this test log.</summary>
    protected LogRecorder Log { get; } = new();

    /// <summary>Time that moves only when the test says so.</summary>
    private protected TestClock Time { get; } = new();

    /// <summary>Options with the test's log and the system's clock.</summary>
    protected PipelineOptions Options => new() { LoggerFactory = Log };

    /// <summary>Options with the test's log and the test's clock.</summary>
    protected PipelineOptions FakeTimeOptions => Options with { TimeProvider = Time };

    /// <summary>Fires when the test is over or takes too long.</summary>
    protected static CancellationToken TestToken => TestContext.Current.CancellationToken;

    /// <summary>Says that records of an event may be logged at Warning or above.</summary>
    protected void Expect(int eventId) => _expected.Enqueue((eventId, static _ => true));

    /// <summary>Says that a faulted or cancelled run may warn of what it discarded, of its cause and of its secondary errors.</summary>
    protected void ExpectFailure()
    {
        foreach (int id in (int[])[4, 20, 21])
            Expect(id);
    }

    /// <summary>Builds and starts a pipeline with the test's log; its balance is checked when it has ended.</summary>
    protected PipelineRun Start(PipelineEnd<NoInput> end, PipelineOptions? options = null) => Watch(end.Build(options ?? Options).Start());

    /// <summary>Builds and starts a pipeline with the test's log; its balance is checked when it has ended.</summary>
    protected PipelineRun<TIn> Start<TIn>(PipelineEnd<TIn> end, PipelineOptions? options = null) => Watch(end.Build(options ?? Options).Start());

    /// <summary>Checks a run's balance at the end of the test, and ends the run if the test did not.</summary>
    protected TRun Watch<TRun>(TRun run)
        where TRun : PipelineRun
    {
        _runs.Enqueue(run);
        return run;
    }

    /// <summary>Waits until only one stage is left, so that it alone can be abandoned.</summary>
    protected static Task UntilOnlyAsync(PipelineRun run, string stage) =>
        Waiting.UntilAsync(() => run.Snapshot().Stages.All(s => s.Name == stage || s.Activity == StageActivity.Ended), $"only {stage} has not ended");

    public virtual ValueTask InitializeAsync() => default;

    public virtual async ValueTask DisposeAsync()
    {
        foreach (PipelineRun run in _runs)
        {
            bool hadEnded = run.Completion.IsCompleted;
            ValueTask disposing = run.DisposeAsync();
            Time.Advance(TimeSpan.FromMinutes(1));
            await disposing.AsTask().Within();
            PipelineReport report = await run.Report;
            report.AssertConserved();
            Assert.True(hadEnded || report.State == RunState.Canceled, "A run that the test left alone must end by its disposal.");
            if (!hadEnded)
                ExpectFailure();
        }

        UnobservedExceptions.AssertNone();
        List<LogRecord> unexpected = [.. Log.Records.Where(r => r.Level >= LogLevel.Warning && r.Category.StartsWith("Puma.Dataflow", StringComparison.Ordinal) && !_expected.Any(e => e.EventId == r.EventId.Id && e.Predicate(r)))];
        Assert.True(unexpected.Count == 0, $"Unexpected log records:{Environment.NewLine}{string.Join(Environment.NewLine, unexpected)}");
        GC.SuppressFinalize(this);
    }
}
