using System.Globalization;
using System.Threading.Channels;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Contracts;

/// <summary>What a runnable of any placement reports, and what its owner sees of it (S43). A placement adds a subclass that names itself.</summary>
public abstract class StatusContract : LifecycleTest
{
    /// <summary>Where the stages under test live.</summary>
    protected abstract Placement Placement { get; }

    private StageOptions Work => new() { Name = "work", Placement = Placement };

    private bool IsCarried => Placement is not InProcessPlacement;

    [Fact] // S43, Puma 121
    public async Task TheLatest_IsThereWhenTheOutputIs_AndIsNeverForgotten()
    {
        var outputs = Channel.CreateUnbounded<string>();
        PipelineRun<string> run = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.Nothing, Work).To(outputs.Writer));
        StageStatus status = run.Stage("work").Status;
        Assert.Null(status.Latest<Numbered>());

        for (int i = 1; i <= 50; i++)
        {
            await run.SendAsync($"number {i}", TestToken);
            await outputs.Reader.ReadAsync(TestToken).AsTask().Within();

            Assert.Equal((new Numbered(i), (int?)0, 0L), (status.Latest<Numbered>()!.Value, status.Latest<Numbered>()!.Instance, status.Latest<Numbered>()!.Dropped));
        }

        await run.SendAsync("text hello", TestToken);
        run.Complete();
        await run.Completion.Within();

        // Each type has its own, also when the stage has ended, and as often as it is asked for.
        Assert.Equal((new Numbered(50), "hello"), (status.Latest<Numbered>()!.Value, status.Latest<string>()!.Value));
        Assert.Equal(new Numbered(50), status.Latest<Numbered>()!.Value);
        Assert.Null(status.Latest<object>());
    }

    [Fact] // S43, Puma 122
    public async Task Wait_ForWhatIsThere_AndForWhatComes()
    {
        PipelineRun<string> run = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.Nothing, Work).ForEach(static _ => { }));
        StageStatus status = run.Stage("work").Status;
        Task<StatusReport<Numbered>> any = status.WaitAsync<Numbered>(Waiting.Limit, TestToken);
        Task<StatusReport<Numbered>> large = status.WaitAsync<Numbered>(static n => n.Number > 100, Timeout.InfiniteTimeSpan, TestToken);
        await status.WaitAsync<StageState>(static s => s == StageState.Running, Waiting.Limit, TestToken);

        await run.SendAsync("number 7", TestToken);
        Assert.Equal(new Numbered(7), (await any.Within()).Value);
        Assert.False(large.IsCompleted);
        await run.SendAsync("number 101", TestToken);

        Assert.Equal(new Numbered(101), (await large.Within()).Value);
        Task<StatusReport<Numbered>> now = status.WaitAsync<Numbered>(TimeSpan.Zero, new CancellationToken(canceled: true));
        Assert.True(now.IsCompletedSuccessfully);
        Assert.Equal(new Numbered(101), (await now).Value);
        run.Complete();
        await run.Completion.Within();
    }

    [Fact] // S29, S43, Puma 122
    public async Task Wait_ForWhatDoesNotCome_EndsAtItsTime()
    {
        PipelineRun<string> run = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.Nothing, Work).ForEach(static _ => { }), FakeTimeOptions);
        StageStatus status = run.Stage("work").Status;
        await status.WaitAsync<StageState>(static s => s == StageState.Running, Timeout.InfiniteTimeSpan, TestToken).Within();
        using var canceling = new CancellationTokenSource();
        Task<StatusReport<string>> canceled = status.WaitAsync<string>(Timeout.InfiniteTimeSpan, canceling.Token);
        Task<StatusReport<string>> late = status.WaitAsync<string>(TimeSpan.FromSeconds(5), TestToken);

        Time.Advance(TimeSpan.FromSeconds(5) - TimeSpan.FromTicks(1));
        Assert.False(late.IsCompleted);
        Time.Advance(TimeSpan.FromTicks(1));

        Assert.Equal("Stage 'work' did not report a status of type String within 00:00:05. It is Running.", (await Assert.ThrowsAsync<TimeoutException>(() => late.Within())).Message);
        await Assert.ThrowsAsync<TimeoutException>(() => status.WaitAsync<string>(TimeSpan.Zero, TestToken));
        Assert.False(canceled.IsCompleted);
        await canceling.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => canceled.Within());
        run.Complete();
        await run.Completion.Within();
    }

    [Fact] // S43, Puma 123
    public async Task Wait_OfAStageThatEnds_FailsAtOnce_ButWhatCameBeforeIsThere()
    {
        PipelineRun<string> run = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.AtEnd, Work).ForEach(static _ => { }));
        StageStatus status = run.Stage("work").Status;
        Task<StatusReport<Numbered>> waiting = status.WaitAsync<Numbered>(Timeout.InfiniteTimeSpan, TestToken);
        Task<StatusReport<string>> last = status.WaitAsync<string>(Timeout.InfiniteTimeSpan, TestToken);

        run.Complete();

        StageEndedException ended = await Assert.ThrowsAsync<StageEndedException>(() => waiting.Within());
        Assert.Equal(("Stage 'work' has ended (Completed) without a status of type Numbered.", "work", StageState.Completed, null), (ended.Message, ended.Stage, ended.State, ended.InnerException));
        Assert.Equal("end", (await last.Within()).Value);
        Assert.Equal("end", (await status.WaitAsync<string>(TimeSpan.Zero, TestToken)).Value);
        ended = await Assert.ThrowsAsync<StageEndedException>(() => status.WaitAsync<string>(static s => s == "other", Timeout.InfiniteTimeSpan, TestToken));
        Assert.Contains("without a status of type String that fulfils the condition", ended.Message, StringComparison.Ordinal);
        await run.Completion.Within();
    }

    [Fact] // S43, Puma 109, 110, G2
    public async Task AThousandUnread_ThenAnException_TheOwnerGetsTheExceptionAndTheLastState()
    {
        ExpectFailure();
        PipelineRun<string> run = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.Nothing, Work).ForEach(static _ => { }));
        StageStatus status = run.Stage("work").Status;
        await using IAsyncEnumerator<StatusReport<Numbered>> unread = status.ReadAllAsync<Numbered>(capacity: 16, TestToken).GetAsyncEnumerator(TestToken);
        ValueTask<bool> first = unread.MoveNextAsync();
        await status.WaitAsync<StageState>(static s => s == StageState.Running, Waiting.Limit, TestToken);
        await using IAsyncEnumerator<StatusReport<StageState>> state = status.ReadAllAsync<StageState>(capacity: 1, TestToken).GetAsyncEnumerator(TestToken);
        foreach (StageState former in (StageState[])[StageState.Starting, StageState.Running])
        {
            Assert.True(await state.MoveNextAsync().AsTask().Within());
            Assert.Equal(former, state.Current.Value);
        }

        await run.SendAsync("many 1000", TestToken);
        await run.SendAsync("throw", TestToken);
        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Same(fault, await Assert.ThrowsAsync<StageFaultedException>(() => run.Stage("work").Completion.Within()));
        Assert.Equal(StageState.Faulted, status.Latest<StageState>()!.Value);
        Assert.Same(fault, (await Assert.ThrowsAsync<StageEndedException>(() => status.WaitAsync<string>(TimeSpan.Zero, TestToken))).InnerException);

        // The newest is there, and what is not was counted.
        long seen = 0;
        Numbered last = new(0);
        for (bool hasNext = await first.AsTask().Within(); hasNext; hasNext = await unread.MoveNextAsync())
        {
            seen += unread.Current.Dropped + 1;
            last = unread.Current.Value;
        }

        Assert.Equal((1000L, new Numbered(1000)), (seen, last));
        Assert.True(await state.MoveNextAsync());
        Assert.Equal(StageState.Faulted, state.Current.Value);
        Assert.False(await state.MoveNextAsync());
        Assert.Equal([StageState.Starting, StageState.Running, StageState.Faulted], await StatesAsync(run, "work"));
    }

    [Fact] // S43
    public async Task AStream_IsBounded_AndCountsWhatItDropped()
    {
        var outputs = Channel.CreateUnbounded<string>();
        PipelineRun<string> run = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.Nothing, Work).To(outputs.Writer));
        await using IAsyncEnumerator<StatusReport<Numbered>> stream = run.Stage("work").Status.ReadAllAsync<Numbered>(capacity: 4, TestToken).GetAsyncEnumerator(TestToken);
        ValueTask<bool> first = stream.MoveNextAsync();
        await run.SendAsync("number 0", TestToken);
        Assert.True(await first.AsTask().Within());
        Assert.Equal((new Numbered(0), 0L), (stream.Current.Value, stream.Current.Dropped));

        await run.SendAsync("many 10", TestToken);
        await outputs.Reader.ReadAsync(TestToken).AsTask().Within();
        await outputs.Reader.ReadAsync(TestToken).AsTask().Within();

        foreach ((int number, long dropped) in ((int, long)[])[(7, 6), (8, 0), (9, 0), (10, 0)])
        {
            Assert.True(await stream.MoveNextAsync());
            Assert.Equal((new Numbered(number), dropped), (stream.Current.Value, stream.Current.Dropped));
        }

        ValueTask<bool> end = stream.MoveNextAsync();
        Assert.False(end.IsCompleted);
        run.Complete();
        Assert.False(await end.AsTask().Within());
        await run.Completion.Within();
    }

    [Fact] // S43, Puma 110
    public async Task States_OfARunThatEndsByItself()
    {
        PipelineRun run = Start(Pipeline.From(["a", "b"]).Then(static o => new Reporter(o), Tell.Nothing, Work).ForEach(static _ => { }));

        // Read while it runs.
        Assert.Equal([StageState.Starting, StageState.Running, StageState.Completed], await StatesAsync(run, "work"));
        await run.Completion.Within();
        Assert.Equal([StageState.Starting, StageState.Running, StageState.Completed], await StatesAsync(run, "work"));
    }

    [Fact] // S2, S43
    public async Task States_OfARunThatIsCompleted_OrCanceled_OrFailsToStart()
    {
        PipelineRun<string> completed = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.Nothing, Work).ForEach(static _ => { }));
        await completed.Started.Within();
        completed.Complete();
        Assert.Equal([StageState.Starting, StageState.Running, StageState.Draining, StageState.Completed], await StatesAsync(completed, "work"));
        await completed.Completion.Within();

        PipelineRun<string> canceled = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.Nothing, Work).ForEach(static _ => { }));
        await canceled.Started.Within();
        canceled.Cancel();
        Assert.Equal([StageState.Starting, StageState.Running, StageState.Canceled], await StatesAsync(canceled, "work"));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => canceled.Completion.Within());

        ExpectFailure();
        PipelineRun<string> faulted = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.ThenThrowAtStart, Work).ForEach(static _ => { }));
        Assert.Equal([StageState.Starting, StageState.Faulted], await StatesAsync(faulted, "work"));
        Assert.Equal("start", faulted.Stage("work").Status.Latest<string>()!.Value);
        await Assert.ThrowsAsync<StageFaultedException>(() => faulted.Completion.Within());
    }

    [Fact] // S17, S43
    public async Task States_OfAFaultElsewhere()
    {
        ExpectFailure();
        PipelineRun<string> run = Start(Pipeline.Accept<string>()
            .Then(static o => new Reporter(o), Tell.Nothing, Work with { Name = "before" })
            .Transform(static x => x.Length > 0 ? throw new FormatException() : x, new() { Name = "fails" })
            .Then(static o => new Reporter(o), Tell.Nothing, Work)
            .ForEach(static _ => { }));
        await run.Started.Within();
        await run.SendAsync("text a", TestToken);
        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal([StageState.Starting, StageState.Running, StageState.Canceled], await StatesAsync(run, "before"));
        Assert.Equal([StageState.Starting, StageState.Running, StageState.Faulted], await StatesAsync(run, "fails"));
        Assert.Equal([StageState.Starting, StageState.Running, StageState.Draining, StageState.Faulted], await StatesAsync(run, "work"));
    }

    [Fact] // S43
    public async Task APool_ReportsByInstance()
    {
        PipelineRun<string> run = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.InstanceAtStart, Work with { MaxDegreeOfParallelism = 3 }).ForEach(static _ => { }));
        StageStatus status = run.Stage("work").Status;
        await run.Started.Within();

        Assert.Equal([0, 1, 2], Enumerable.Range(0, 3).Select(i => status.Latest<Numbered>(i)!.Value.Number));
        Assert.Equal([0, 1, 2], Enumerable.Range(0, 3).Select(i => status.Latest<Numbered>(i)!.Instance!.Value));
        Assert.Null(status.Latest<Numbered>(3));
        Assert.Null(status.Latest<StageState>(0));
        Assert.Null(status.Latest<StageState>()!.Instance);
        Assert.Equal(status.Latest<Numbered>(), await status.WaitAsync<Numbered>(TimeSpan.Zero, TestToken));

        // A condition may hold for any of them, and a stream begins with all.
        Assert.Equal(1, (await status.WaitAsync<Numbered>(static n => n.Number == 1, TimeSpan.Zero, TestToken)).Instance);
        run.Complete();
        await run.Completion.Within();
        List<int?> instances = [];
        await foreach (StatusReport<Numbered> report in status.ReadAllAsync<Numbered>(cancellationToken: TestToken))
            instances.Add(report.Instance);
        Assert.Equal([0, 1, 2], instances.Order());
    }

    [Fact] // S38, S43
    public async Task WhatCannotBeCarried_IsRefusedWhereItIsReported_AndTheStageGoesOn()
    {
        List<string> seen = [];
        PipelineRun run = Start(Pipeline.From(["uncarried", "huge", "null", "state", "number 5"]).Then(static o => new Reporter(o), Tell.Nothing, Work).ForEach(seen.Add));

        await run.Completion.Within();

        Assert.Equal(new Numbered(5), run.Stage("work").Status.Latest<Numbered>()!.Value);
        Assert.Equal(5, seen.Count);
        if (IsCarried)
        {
            Assert.Contains("Uncarried.Callback is of type Action: a delegate cannot travel as data", seen[0], StringComparison.Ordinal);
            Assert.Contains("as a status its encoded form has", seen[1], StringComparison.Ordinal);
        }
        else
        {
            Assert.Equal(["reported", "reported"], seen[..2]);
        }

        Assert.StartsWith("ArgumentNullException", seen[2], StringComparison.Ordinal);
        Assert.StartsWith("ArgumentException: A StageState is reported by the stage itself", seen[3], StringComparison.Ordinal);
    }

    [Fact]
    public async Task AReport_BeforeTheStart_IsRefused()
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From(["a"]).Then(static o => new Reporter(o), Tell.InConstructor, Work).ForEach(static _ => { }));

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.True(fault.IsCausedBy<InvalidOperationException>());
        Assert.Contains("Reporter has not been started", fault.InnerException!.Message, StringComparison.Ordinal);
    }

    [Fact] // S43
    public async Task AHundredThousand_AreTakenAndCounted()
    {
        PipelineRun<string> run = Start(Pipeline.Accept<string>().Then(static o => new Reporter(o), Tell.Nothing, Work).ForEach(static _ => { }));
        await using IAsyncEnumerator<StatusReport<Numbered>> stream = run.Stage("work").Status.ReadAllAsync<Numbered>(cancellationToken: TestToken).GetAsyncEnumerator(TestToken);
        ValueTask<bool> first = stream.MoveNextAsync();
        await run.SendAsync("many 100000", TestToken);
        run.Complete();
        await run.Completion.Within();

        long seen = 0, read = 0;
        Numbered last = new(0);
        for (bool hasNext = await first.AsTask().Within(); hasNext; hasNext = await stream.MoveNextAsync())
        {
            seen += stream.Current.Dropped + 1;
            last = stream.Current.Value;
            read++;
        }

        Assert.Equal((100_000L, new Numbered(100_000)), (seen, last));
        Assert.InRange(read, 1, 129);
    }

    [Fact] // S29, S43
    public async Task Times_AreThoseOfThePipeline_OrOfTheSystem()
    {
        DateTimeOffset before = TimeProvider.System.GetUtcNow();
        PipelineRun run = Start(Pipeline.From(["number 1"]).Then(static o => new Reporter(o), Tell.Nothing, Work).ForEach(static _ => { }), FakeTimeOptions);
        await run.Completion.Within();

        StatusReport<Numbered> report = run.Stage("work").Status.Latest<Numbered>()!;
        if (Placement is ChildProcessPlacement)
            Assert.InRange(report.Time, before, TimeProvider.System.GetUtcNow());
        else
            Assert.Equal(Time.GetUtcNow(), report.Time);
        Assert.Equal((Time.GetUtcNow(), TimeSpan.Zero), (run.Stage("work").Status.Latest<StageState>()!.Time, report.Time.Offset));
    }

    [Fact] // S43: every kind of runnable
    public async Task SourcesSinksAndCommandRunnables_Report()
    {
        PipelineRun run = Start(Pipeline.From(static o => new ReportingSource(o), 3, new() { Name = "source", Placement = Placement })
            .To(static o => new ReportingSink(o), 10, new() { Name = "sink", Placement = Placement }));
        await run.Completion.Within();

        Assert.Equal((new Numbered(3), new Numbered(13)), (run.Stage("source").Status.Latest<Numbered>()!.Value, run.Stage("sink").Status.Latest<Numbered>()!.Value));

        PipelineRun command = Start(Pipeline.Of(static () => new ReportingCommand(), new() { Name = "command", Placement = Placement }));
        Assert.Equal(new Numbered(1), (await command.Stage("command").Status.WaitAsync<Numbered>(Waiting.Limit, TestToken)).Value);
        command.Complete();
        await command.Completion.Within();
        Assert.Equal(new Numbered(2), command.Stage("command").Status.Latest<Numbered>()!.Value);
    }

    /// <summary>All states that a stage was in, read until its end.</summary>
    protected static async Task<List<StageState>> StatesAsync(PipelineRun run, string stage)
    {
        List<StageState> states = [];
        await foreach (StatusReport<StageState> report in run.Stage(stage).Status.ReadAllAsync<StageState>(cancellationToken: TestToken))
            states.Add(report.Value);
        return states;
    }

    public sealed record Numbered(int Number);

    public sealed record Uncarried(string Name, Action Callback);

    public enum Tell
    {
        Nothing,
        InConstructor,
        InstanceAtStart,
        ThenThrowAtStart,
        AtEnd,
    }

    /// <summary>Reports what its items say, and tells what came of it.</summary>
    private sealed class Reporter : Runnable<string, string>
    {
        private readonly Tell _tell;

        public Reporter(Tell tell)
        {
            _tell = tell;
            if (tell == Tell.InConstructor)
                ReportStatus("constructor");
        }

        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            if (_tell == Tell.InstanceAtStart)
                ReportStatus(new Numbered(Context.Instance));
            if (_tell != Tell.ThenThrowAtStart)
                return default;
            ReportStatus("start");
            throw new FormatException("start");
        }

        protected override ValueTask OnItemAsync(string item, CancellationToken cancellationToken)
        {
            string[] words = item.Split(' ');
            if (words[0] == "throw")
                throw new FormatException("item");
            try
            {
                Report(words);
            }
            catch (Exception error)
            {
                return EmitAsync($"{error.GetType().Name}: {error.Message}", cancellationToken);
            }

            return EmitAsync("reported", cancellationToken);
        }

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
        {
            if (_tell == Tell.AtEnd)
                Context.ReportStatus("end");
            return default;
        }

        private void Report(string[] words)
        {
            switch (words[0])
            {
                case "number":
                    ReportStatus(new Numbered(int.Parse(words[1], CultureInfo.InvariantCulture)));
                    break;
                case "many":
                    for (int i = 1; i <= int.Parse(words[1], CultureInfo.InvariantCulture); i++)
                        ReportStatus(new Numbered(i));
                    break;
                case "text":
                    ReportStatus(words[1]);
                    break;
                case "uncarried":
                    ReportStatus(new Uncarried("a", static () => { }));
                    break;
                case "huge":
                    ReportStatus(new byte[300_000]);
                    break;
                case "null":
                    ReportStatus<string>(null!);
                    break;
                case "state":
                    ReportStatus(StageState.Faulted);
                    break;
            }
        }
    }

    private sealed class ReportingSource(int count) : SourceRunnable<int>
    {
        protected override async ValueTask ProduceAsync(CancellationToken stopToken)
        {
            for (int i = 1; i <= count; i++)
            {
                ReportStatus(new Numbered(i));
                await EmitAsync(i, stopToken);
            }
        }
    }

    private sealed class ReportingSink(int start) : SinkRunnable<int>
    {
        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken)
        {
            ReportStatus(new Numbered(start + item));
            return default;
        }
    }

    private sealed class ReportingCommand : CommandRunnable
    {
        protected override ValueTask OnStartAsync(CancellationToken cancellationToken)
        {
            ReportStatus(new Numbered(1));
            return default;
        }

        protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
        {
            ReportStatus(new Numbered(2));
            return default;
        }
    }
}

/// <inheritdoc/>
public sealed class InProcessStatusTests : StatusContract
{
    protected override Placement Placement => Placement.InProcess;
}

/// <inheritdoc/>
public sealed class LoopbackStatusTests : StatusContract
{
    protected override Placement Placement => Placement.Loopback;
}

/// <inheritdoc/>
public sealed class ChildProcessStatusTests : StatusContract
{
    protected override Placement Placement => Placement.ChildProcess;
}
