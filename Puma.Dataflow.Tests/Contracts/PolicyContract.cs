using System.Runtime.CompilerServices;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Contracts;

/// <summary>What a stage of any placement does with an item whose handler throws. A placement adds a subclass that names itself.</summary>
public abstract class PolicyContract : LifecycleTest
{
    /// <summary>Where the stages under test live.</summary>
    protected abstract Placement Placement { get; }

    private StageOptions Parse => new() { Name = "parse", Placement = Placement };

    [Theory] // S35, S30
    [InlineData(1)]
    [InlineData(4)]
    public async Task Skip_LeavesTheItemOut_AndCountsIt(int parallelism)
    {
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 100))
            .Transform(static x => x % 10 == 0 ? throw new FormatException() : x, Parse with { ErrorPolicy = ErrorPolicy.Skip, MaxDegreeOfParallelism = parallelism })
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(Enumerable.Range(1, 100).Where(static x => x % 10 != 0), seen);
        AssertCounts(report, "parse", accepted: 100, delivered: 90, skipped: 10);
        Assert.Equal(90, report.Stage("parse").Emitted);
    }

    [Theory] // S33, S35
    [InlineData(1)]
    [InlineData(4)]
    public async Task DeadLetter_CarriesItemStageAttemptAndException_AndTheTargetCompletes(int parallelism)
    {
        List<DeadLetter<int>> received = [];
        var letters = new ActionBlock<DeadLetter<int>>(received.Add);
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 100))
            .Transform(
                static x => x % 10 == 0 ? throw new FormatException($"no {x}") : x,
                Parse with { ErrorPolicy = ErrorPolicy.Retry(1).Then(ErrorPolicy.DeadLetter(letters)), MaxDegreeOfParallelism = parallelism })
            .ForEach(static _ => { }));

        PipelineReport report = await run.Completion.Within();

        AssertCounts(report, "parse", accepted: 100, delivered: 90, deadLettered: 10);
        Assert.True(letters.Completion.IsCompletedSuccessfully);
        Assert.Equal(Enumerable.Range(1, 10).Select(static i => i * 10), received.Select(static l => l.Item));
        Assert.All(received, static l => Assert.Equal(("parse", l.Item, 2, $"no {l.Item}"), (l.Stage, l.ItemNumber, l.Attempts, l.Error.Message)));
    }

    [Theory] // S15
    [InlineData(1)]
    [InlineData(4)]
    public async Task OperationCanceledException_FromAForeignToken_IsAFault(int parallelism)
    {
        ExpectFailure();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 100))
            .Transform(static x => x == 50 ? throw new OperationCanceledException(new CancellationToken(canceled: true)) : x, Parse with { MaxDegreeOfParallelism = parallelism })
            .ForEach(seen.Add));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("parse", 50), (fault.Stage, fault.ItemNumber));
        Assert.True(fault.IsCausedBy<OperationCanceledException>());
        PipelineReport report = await run.Report;
        Assert.Equal((RunState.Faulted, 1, 49), (report.State, report.Stage("parse").Failed, report.Stage("parse").Delivered));
        Assert.Equal(Enumerable.Range(1, 49), seen);
    }

    [Fact] // S15, S35: also to the error policy
    public async Task OperationCanceledException_FromAForeignToken_IsSkippedLikeAnyOther()
    {
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 10))
            .Transform(static x => x == 5 ? throw new TaskCanceledException() : x, Parse with { ErrorPolicy = ErrorPolicy.Skip })
            .ForEach(static _ => { }));

        AssertCounts(await run.Completion.Within(), "parse", accepted: 10, delivered: 9, skipped: 1);
    }

    [Theory] // S18, S31, S35
    [InlineData(1)]
    [InlineData(8)]
    public async Task OrderedStage_WhoseLowerItemsAreSkippedDeadLetteredOrRetried_PassesOnAllOthersBelowTheFailure(int parallelism)
    {
        ExpectFailure();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 10_000))
            .Transform(static x => x % 97 == 0 ? throw new FormatException() : x, Parse with { ErrorPolicy = ErrorPolicy.Retry(2).Then(ErrorPolicy.Skip), MaxDegreeOfParallelism = parallelism })
            .Transform(static x => x == 500 ? throw new InvalidOperationException() : x, new() { Name = "check", Placement = Placement, MaxDegreeOfParallelism = parallelism })
            .ForEach(seen.Add));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("check", fault.Stage);
        Assert.Equal(Enumerable.Range(1, 499).Where(static x => x % 97 != 0), seen);
    }

    [Fact] // S31, S35: the outputs of an attempt that failed are never passed on
    public async Task Retry_PassesOnTheOutputsOfTheLastAttemptOnly()
    {
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Then(static () => new FailsTwice(), Parse with { ErrorPolicy = ErrorPolicy.Retry(2) })
            .ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(["1 at 3", "2 at 3", "3 at 3"], seen);
        AssertCounts(report, "parse", accepted: 3, delivered: 3);
        Assert.Equal(3, report.Stage("parse").Emitted);
    }

    [Fact] // S35, S3: the attempt is named
    public async Task Retry_ThatIsUsedUp_FaultsWithTheLastAttempt()
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From([1])
            .Then(static () => new FailsTwice(), Parse with { ErrorPolicy = ErrorPolicy.Retry(1) })
            .ForEach(static _ => { }));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal(("parse", 1, 2, "2"), (fault.Stage, fault.ItemNumber, fault.Attempt, fault.InnerException!.Message));
        AssertCounts(await run.Report, "parse", accepted: 1, failed: 1);
    }

    [Theory] // S26, S30: it has failed, so nothing of it may leave
    [InlineData("transform", 1)]
    [InlineData("transform", 2)]
    [InlineData("where", 1)]
    [InlineData("tap", 1)]
    [InlineData("many", 1)]
    [InlineData("many", 2)]
    [InlineData("runnable", 1)]
    [InlineData("runnable", 2)]
    public async Task ItemTimeout_OfAHandlerThatReturnsLate_PassesOnNothing(string kind, int parallelism)
    {
        List<int> seen = [];
        List<DeadLetter<int>> letters = [];
        StageOptions options = Parse with
        {
            MaxDegreeOfParallelism = parallelism,
            ItemTimeout = TimeSpan.FromMilliseconds(1),
            ErrorPolicy = ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) =>
            {
                letters.Add(letter);
                return default;
            }),
        };
        PipelineBuilder<NoInput, int> items = Pipeline.From([1, 2, 3]);
        PipelineBuilder<NoInput, int> late = kind switch
        {
            "transform" => items.Transform(static async (x, ct) =>
            {
                await UntilFiredAsync(ct);
                return x;
            }, options),
            "where" => items.Where(static async (x, ct) =>
            {
                await UntilFiredAsync(ct);
                return true;
            }, options),
            "tap" => items.Tap(static async (x, ct) => await UntilFiredAsync(ct), options),
            "many" => items.TransformMany(LateAsync, options),
            _ => items.Then(static () => new EmitsLate(), options),
        };
        PipelineRun run = Start(late.ForEach(seen.Add));

        PipelineReport report = await run.Completion.Within();

        Assert.Empty(seen);
        Assert.Equal([1, 2, 3], letters.Select(static l => l.Item));
        Assert.All(letters, static l => Assert.IsNotType<OperationCanceledException>(l.Error));
        AssertCounts(report, "parse", accepted: 3, deadLettered: 3);
        Assert.Equal(0, report.Stage("parse").Emitted);
    }

    /// <summary>Returns when the item's time has run out.</summary>
    private static async Task UntilFiredAsync(CancellationToken cancellationToken)
    {
        var fired = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration registration = cancellationToken.Register(fired.SetResult);
        await fired.Task.Within();
    }

    private static async IAsyncEnumerable<int> LateAsync(int item, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await UntilFiredAsync(cancellationToken);
        yield return item;
    }

    private sealed class EmitsLate : Runnable<int, int>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await UntilFiredAsync(cancellationToken);
            await EmitAsync(item, CancellationToken.None);
        }
    }

    /// <summary>Fails the first two attempts at each item, after it has emitted.</summary>
    private sealed class FailsTwice : Runnable<int, string>
    {
        protected override async ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            await EmitAsync($"{item} at {Context.Attempt}", cancellationToken);
            if (Context.Attempt < 3)
                throw new FormatException($"{Context.Attempt}");
        }
    }
}

/// <inheritdoc/>
public sealed class InProcessPolicyTests : PolicyContract
{
    protected override Placement Placement => Placement.InProcess;
}

/// <inheritdoc/>
public sealed class LoopbackPolicyTests : PolicyContract
{
    protected override Placement Placement => Placement.Loopback;
}

/// <inheritdoc/>
public sealed class ChildProcessPolicyTests : PolicyContract
{
    protected override Placement Placement => Placement.ChildProcess;
}
