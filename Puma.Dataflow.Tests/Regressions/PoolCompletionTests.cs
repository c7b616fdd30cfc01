using System.Collections.Concurrent;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// While an instance of a pool ran its OnCompletedAsync, nobody served the lanes of the others: one that awaited a call to another
/// instance there waited for ever.
/// </summary>
public sealed class PoolCompletionTests : PipelineTest
{
    private const int Many = 300;

    private readonly List<int> _seen = [];
    private readonly ConcurrentQueue<int> _completed = [];
    private readonly Gate _isHeld = new();
    private Func<ValueTask> _ask = static () => default;

    private static readonly string[] s_kinds = ["ordered", "unordered", "by key", "by key unordered"];

    public static TheoryData<string, int> KindsAndInstances => [.. s_kinds.SelectMany(static k => new TheoryDataRow<string, int>[] { new(k, 0), new(k, 1) })];

    public static TheoryData<string> Kinds => [.. s_kinds];

    [Theory, MemberData(nameof(KindsAndInstances))] // S41, S42
    public async Task AnInstanceThatCompletes_CallsAnother_IsAnswered(string kind, int caller)
    {
        PipelineRun<int> run = null!;
        run = StartPool(kind, async (instance, emit) =>
        {
            if (instance != caller)
                return;
            IMember other = run.Control<IMember>("pool", 1 - caller);
            Assert.Equal(1 - caller, await other.IndexAsync());

            // More than the pool keeps for it: the other's outputs do not wait for the end of who waits for it.
            await emit(-1);
            await other.EmitManyAsync();
            await emit(-2);
        });
        await run.SendAsync(1, TestToken);
        run.Complete();
        PipelineReport report = await run.Completion.Within();

        Assert.Equal(RunState.Completed, report.State);
        Assert.Equal([0, 1], _completed);
        Assert.Equal([1, -1, -2], _seen.Where(static x => x < 1000));
        Assert.Equal(Enumerable.Range(1000, Many), _seen.Where(static x => x >= 1000));
    }

    [Theory, MemberData(nameof(Kinds))] // S41, S42
    public async Task CallsFromOutside_WhileInstancesComplete_AreAnswered(string kind)
    {
        Gate[] runs = [new(), new()], go = [new(), new()];
        PipelineRun<int> run = StartPool(kind, async (instance, emit) =>
        {
            runs[instance].Open();
            await go[instance].WaitAsync(TestToken);
            await emit(instance);
        });
        IMember[] members = [run.Control<IMember>("pool", 0), run.Control<IMember>("pool", 1)];
        run.Complete();
        for (int completing = 0; completing < 2; completing++)
        {
            await runs[completing].WaitAsync(TestToken);
            Task<int> own = members[completing].IndexAsync().AsTask();
            Assert.Equal(1 - completing, await members[1 - completing].IndexAsync().AsTask().Within());
            await members[1 - completing].EmitManyAsync().Within();
            Assert.False(own.IsCompleted, "It waits for the callback.");
            go[completing].Open();
            Assert.Equal(completing, await own.Within());
        }

        await run.Completion.Within();
        Assert.Equal([0, 1], _seen.Where(static x => x < 1000));
        Assert.Equal([.. Enumerable.Range(1000, Many), .. Enumerable.Range(1000, Many)], _seen.Where(static x => x >= 1000));
        CommandFailedException late = await Assert.ThrowsAsync<CommandFailedException>(() => members[0].IndexAsync().AsTask().Within());
        Assert.Equal(CommandFailure.StageEnded, late.Failure);
        Assert.Contains("was not answered", late.Message, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Kinds))] // S42
    public async Task ACallThatWaitsForAnother_WhenAllHaveCompleted_IsNotLeftWaiting(string kind)
    {
        Gate completes = new(), complete = new(), asks = new(), ask = new();
        PipelineRun<int> run = StartPool(kind, async (instance, _) =>
        {
            if (instance == 0)
                return;
            completes.Open();
            await complete.WaitAsync(TestToken);
        });
        Exception? refusal = null;
        _ask = async () =>
        {
            asks.Open();
            await ask.WaitAsync(TestToken);
            refusal = await Record.ExceptionAsync(() => run.Control<IMember>("pool", 1).IndexAsync().AsTask());
        };
        run.Complete();
        await completes.WaitAsync(TestToken);
        Task asked = run.Control<IMember>("pool", 0).AskAsync().AsTask();
        await asks.WaitAsync(TestToken);
        complete.Open();

        // The last instance completes meanwhile, or it does not: then its answer comes.
        await Waiting.LetOthersRunAsync();
        ask.Open();

        await asked.Within();
        await run.Completion.Within();
        Assert.True(refusal is null or CommandFailedException { Failure: CommandFailure.StageEnded }, $"{refusal}");
    }

    [Theory, MemberData(nameof(Kinds))] // S41
    public async Task CallsFromOutside_WhileTheOutputIsFull_AreAnswered(string kind)
    {
        Gate endSink = new();
        Gate runs = new();
        PipelineRun<int> run = StartPool(
            kind,
            async (instance, emit) =>
            {
                for (int i = 0; i < Many; i++)
                {
                    if (i == 4)
                        runs.Open();
                    await emit(i);
                }
            },
            _ => endSink.WaitAsync(TestToken));
        run.Complete();
        await runs.WaitAsync(TestToken);
        Assert.Equal(1, await run.Control<IMember>("pool", 1).IndexAsync().AsTask().Within());
        endSink.Open();
        await run.Completion.Within();

        Assert.Equal([.. Enumerable.Range(0, Many), .. Enumerable.Range(0, Many)], _seen);
    }

    [Theory, MemberData(nameof(Kinds))] // S13, S14
    public async Task AnInstanceThatFails_IsTheLastOneThatCompletes(string kind)
    {
        ExpectFailure();
        PipelineRun<int> run = StartPool(kind, static (_, _) => throw new FormatException("completed"));
        run.Complete();

        await Assert.ThrowsAnyAsync<Exception>(() => run.Completion.Within());
        PipelineReport report = await run.Report.Within();
        Assert.Equal(RunState.Faulted, report.State);
        Assert.IsType<FormatException>(report.Cause?.InnerException);
        Assert.Equal([0], _completed);
    }

    [Theory, MemberData(nameof(Kinds))] // S13
    public async Task ACancel_WhileAnInstanceCompletes_EndsIt_AndNoOtherCompletes(string kind)
    {
        ExpectFailure();
        Gate runs = new();
        PipelineRun<int> run = StartPool(kind, async (_, emit) =>
        {
            runs.Open();
            while (true)
            {
                await emit(1);
                await Task.Yield();
            }
        });
        run.Complete();
        await runs.WaitAsync(TestToken);
        run.Cancel();
        PipelineReport report = await run.Report.Within();

        Assert.Equal(RunState.Canceled, report.State);
        Assert.Empty(report.Abandoned);
        Assert.Equal([0], _completed);
    }

    [Theory, MemberData(nameof(Kinds))] // S13, S42
    public async Task ACancel_WhileAnInstanceWaitsForAnotherWithoutItsToken_IsNoWaitForTheEnd(string kind)
    {
        ExpectFailure();
        PipelineRun<int> run = null!;
        CommandFailedException? failure = null;
        run = StartPool(kind, async (instance, _) =>
        {
            IMember other = run.Control<IMember>("pool", 1 - instance);
            ValueTask holding = other.HoldAsync();
            ValueTask<int> behind = other.IndexAsync();
            await _isHeld.WaitAsync(TestToken);
            run.Cancel();
            failure = await Assert.ThrowsAsync<CommandFailedException>(() => behind.AsTask());
            await Assert.ThrowsAnyAsync<Exception>(() => holding.AsTask());
        });
        run.Complete();
        PipelineReport report = await run.Report.Within();

        Assert.Equal(RunState.Canceled, report.State);
        Assert.Empty(report.Abandoned);
        Assert.Equal(CommandFailure.StageEnded, failure?.Failure);
    }

    [Fact] // S44
    public async Task AnInstanceThatHasCompleted_TicksNoMore()
    {
        Gate runs = new(), go = new();
        PipelineRun<int> run = StartPool(
            "ordered",
            async (instance, _) =>
            {
                if (instance != 1)
                    return;
                runs.Open();
                await go.WaitAsync(TestToken);
            },
            options: FakeTimeOptions);
        IMember first = run.Control<IMember>("pool", 0);
        Assert.Equal(0, await first.TicksAsync().AsTask().Within());

        // The tick that is due is handled with the next call at the latest.
        Time.Advance(TimeSpan.FromSeconds(1));
        Assert.InRange(await first.TicksAsync().AsTask().Within(), 0, 1);
        Assert.Equal(1, await first.TicksAsync().AsTask().Within());
        run.Complete();
        await runs.WaitAsync(TestToken);
        Time.Advance(TimeSpan.FromSeconds(5));
        for (int i = 0; i < 2; i++)
            Assert.Equal(1, await first.TicksAsync().AsTask().Within());
        go.Open();
        await run.Completion.Within();
    }

    private PipelineRun<int> StartPool(string kind, Func<int, Func<int, ValueTask>, ValueTask> complete, Func<int, Task>? sink = null, PipelineOptions? options = null)
    {
        var stage = new StageOptions
        {
            Name = "pool",
            MaxDegreeOfParallelism = 2,
            EnsureOrdered = !kind.EndsWith("unordered", StringComparison.Ordinal),
            TickInterval = TimeSpan.FromSeconds(1),
        };
        PipelineBuilder<int, int> from = Pipeline.Accept<int>();
        PipelineBuilder<int, int> pool = kind.StartsWith("by key", StringComparison.Ordinal)
            ? from.PartitionBy(static x => x).Then(() => new Member(_completed, _isHeld, complete, () => _ask()), stage)
            : from.Then(() => new Member(_completed, _isHeld, complete, () => _ask()), stage);
        return Start(
            pool.ForEach(
                async x =>
                {
                    if (sink is not null)
                        await sink(x);
                    _seen.Add(x);
                },
                new() { BoundedCapacity = 2 }),
            options);
    }

    public interface IMember
    {
        ValueTask<int> IndexAsync();

        ValueTask<int> TicksAsync();

        ValueTask EmitManyAsync();

        ValueTask AskAsync();

        /// <summary>Returns when the stage gives up.</summary>
        ValueTask HoldAsync(CancellationToken cancellationToken = default);
    }

    private sealed class Member(ConcurrentQueue<int> completed, Gate isHeld, Func<int, Func<int, ValueTask>, ValueTask> complete, Func<ValueTask> ask) : Runnable<int, int>, IMember
    {
        private int _running;
        private int _ticks;

        protected override ValueTask OnItemAsync(int item, CancellationToken cancellationToken) => AloneAsync(() => EmitAsync(item, cancellationToken));

        protected override ValueTask OnTickAsync(CancellationToken cancellationToken) => AloneAsync(() =>
        {
            _ticks++;
            return default;
        });

        protected override ValueTask OnCompletedAsync(CancellationToken cancellationToken) => AloneAsync(async () =>
        {
            completed.Enqueue(Context.Instance);
            await complete(Context.Instance, value => EmitAsync(value, cancellationToken));
        });

        public async ValueTask<int> IndexAsync()
        {
            await AloneAsync(static () => default);
            return Context.Instance;
        }

        public async ValueTask<int> TicksAsync()
        {
            await AloneAsync(static () => default);
            return _ticks;
        }

        public ValueTask EmitManyAsync() => AloneAsync(async () =>
        {
            for (int i = 0; i < Many; i++)
                await EmitAsync(1000 + i);
        });

        public ValueTask AskAsync() => AloneAsync(ask);

        public ValueTask HoldAsync(CancellationToken cancellationToken) => AloneAsync(async () =>
        {
            isHeld.Open();
            await Task.Delay(Timeout.Infinite, cancellationToken);
        });

        private async ValueTask AloneAsync(Func<ValueTask> callback)
        {
            Assert.Equal(0, Interlocked.Exchange(ref _running, 1));
            try
            {
                await callback();
            }
            finally
            {
                Volatile.Write(ref _running, 0);
            }
        }
    }
}
