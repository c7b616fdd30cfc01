using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Puma.Dataflow.Tests.Infrastructure;
using Puma.Dataflow.Tests.Isolation;

namespace Puma.Dataflow.Tests.Commands;

/// <summary>Every call ends, whatever the runnable or its callers do.</summary>
public sealed class HostileCallTests : ChildTest
{
    public static TheoryData<string> Places => ["in process", "own thread", "loopback", "child process"];

    private static StageOptions At(string place) => new()
    {
        Name = "villain",
        OwnThread = place == "own thread",
        Placement = place switch
        {
            "loopback" => Placement.Loopback,
            "child process" => Placement.ChildProcess,
            _ => Placement.InProcess,
        },
    };

    private PipelineRun<int> StartAt(string place, PipelineOptions? options = null) =>
        Start(Pipeline.Accept<int>().Then(static () => new Villain(), At(place)).ForEach(static _ => { }), options);

    private PipelineRun<int> StartOne(Func<Villain> make, PipelineOptions? options = null, StageOptions? stage = null) =>
        Start(Pipeline.Accept<int>().Then(make, stage ?? At("in process")).ForEach(static _ => { }), options);

    private Task UntilItWaitsAsync() => Waiting.UntilAsync(() => Log.Records.Any(static r => r.Message == "waits"), "the member runs");

    private static async Task EndAsync(PipelineRun<int> run)
    {
        run.Complete();
        await run.Completion.Within();
    }

    private static async Task<CommandFailedException> FailsAsync(Func<Task> call, CommandFailure failure)
    {
        CommandFailedException failed = await Assert.ThrowsAsync<CommandFailedException>(() => call().Within());
        Assert.Equal(failure, failed.Failure);
        return failed;
    }

    [Theory, MemberData(nameof(Places))] // S15, S42
    public async Task WhateverAMemberThrows_FailsItsCallAlone(string place)
    {
        PipelineRun<int> run = StartAt(place);
        IVillain villain = run.Control<IVillain>("villain");

        foreach (string what in (string[])["throw hostile", "throw foreign cancellation"])
            await FailsAsync(() => villain.DoAsync(what, TestToken).AsTask(), CommandFailure.Threw);
        await FailsAsync(() => villain.StreamAsync("throw", TestToken).LastAsync(TestToken).AsTask(), CommandFailure.Threw);
        await villain.DoAsync("nothing", TestToken).AsTask().Within();
        Assert.Null(await villain.LendAsync("null", TestToken).AsTask().Within());
        Assert.Equal("none", await villain.TakeAsync(null, TestToken).AsTask().Within());
        await run.SendAsync(1, TestToken);
        await EndAsync(run);
        Assert.Equal(1, (await run.Report).Stage("villain").Delivered);
    }

    [Theory, MemberData(nameof(Places))] // S7, S42
    public async Task ACallbackOfTheToken_ThatThrows_HarmsNothing(string place)
    {
        Expect(LateCall);
        PipelineRun<int> run = StartAt(place);
        IVillain villain = run.Control<IVillain>("villain");
        using var source = new CancellationTokenSource();
        Task call = villain.DoAsync("throw from a callback of the token", source.Token).AsTask();
        await UntilItWaitsAsync();

        await source.CancelAsync().ContinueWith(static _ => { }, TaskScheduler.Default).Within();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call.Within());
        Assert.Equal(1, await villain.LengthAsync([1], TestToken).AsTask().Within());
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S7, S42
    public async Task ACallbackOfTheToken_ThatAnObjectOfTheCallerHas_AndThatThrows_IsLogged(string place)
    {
        Expect(LateCall);
        PipelineRun<int> run = StartAt(place);
        Gate asked = new(), answer = new();
        var oracle = new Oracle
        {
            OnToken = token =>
            {
                token.Register(static () => throw new FormatException("a callback"));
                asked.Open();
            },
            OnAnswer = async () =>
            {
                await answer.WaitAsync();
                return "";
            },
        };
        using var source = new CancellationTokenSource();
        Task call = run.Control<IVillain>("villain").TakeAsync(oracle, source.Token).AsTask();
        await asked.WaitAsync(TestToken);

        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call.Within());
        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == LateCall && r.Message.Contains("a callback", StringComparison.Ordinal)), "the failure of the callback is logged");
        answer.Open();
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task Streams_Endless_OpenTwice_OrOpenAtTheEnd_LeaveNothing(string place)
    {
        PipelineRun<int> run = StartAt(place);
        IVillain villain = run.Control<IVillain>("villain");
        IAsyncEnumerable<int> endless = villain.StreamAsync("endless", TestToken);

        await using (IAsyncEnumerator<int> one = endless.GetAsyncEnumerator(TestToken), two = endless.GetAsyncEnumerator(TestToken))
        {
            for (int i = 0; i < 5; i++)
            {
                Assert.True(await one.MoveNextAsync().AsTask().Within());
                Assert.True(await two.MoveNextAsync().AsTask().Within());
                Assert.Equal((i, i), (one.Current, two.Current));
                await run.SendAsync(i, TestToken);
            }
        }

        IAsyncEnumerator<int> waiting = villain.StreamAsync("wait", TestToken).GetAsyncEnumerator(TestToken);
        Assert.True(await waiting.MoveNextAsync().AsTask().Within());
        Task<bool> step = waiting.MoveNextAsync().AsTask();
        await villain.DoAsync("nothing", TestToken).AsTask().Within();
        run.Complete();
        await run.Completion.Within();
        await FailsAsync(() => step, CommandFailure.StageEnded);
        await waiting.DisposeAsync().AsTask().Within();
    }

    [Fact] // S27, S42
    public async Task AMemberThatNeverReturns_EndsItsCall_WhenTheStageIsAbandoned()
    {
        ExpectFailure();
        Expect(Abandoned);
        Expect(50);
        bool isRunning = false;
        var never = new TaskCompletionSource();
        PipelineRun<int> run = StartOne(() => new Villain { OnDo = (_, _) => Run() }, FakeTimeOptions);
        IVillain villain = run.Control<IVillain>("villain");
        Task running = villain.DoAsync("", TestToken).AsTask();
        Task waiting = villain.DoAsync("", TestToken).AsTask();
        await Waiting.UntilAsync(() => isRunning, "the member runs");
        run.Cancel();
        await UntilOnlyAsync(run, "villain");
        Time.Advance(FakeTimeOptions.AbortTimeout);

        CommandFailedException whatWaited = await FailsAsync(() => waiting, CommandFailure.StageEnded);
        CommandFailedException whatRan = await FailsAsync(() => running, CommandFailure.StageEnded);
        Assert.DoesNotContain("begun", whatWaited.Message, StringComparison.Ordinal);
        Assert.EndsWith("The member had begun; how far it came is unknown.", whatRan.Message, StringComparison.Ordinal);
        never.SetResult();

        async ValueTask Run()
        {
            isRunning = true;
            await never.Task;
        }
    }

    [Fact] // S27, S42
    public async Task AMemberThatNeverReturns_InAChild_EndsItsCall_WhichSaysThatItsOutcomeIsUnknown()
    {
        ExpectFailure();
        Expect(50);
        PipelineOptions options = Options with { AbortTimeout = TimeSpan.FromMilliseconds(100) };
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Then(static () => new Villain(), At("child process") with { Placement = Placement.ChildProcess with { StopGrace = TimeSpan.FromMilliseconds(100) } }).ForEach(static _ => { }), options);
        foreach (int id in (int[])[Abandoned, ChildLost])
            Expect(id);
        Task running = run.Control<IVillain>("villain").DoAsync("hang", TestToken).AsTask();
        await UntilItWaitsAsync();

        run.Cancel();

        CommandFailedException failure = await Assert.ThrowsAsync<CommandFailedException>(() => running.Within());
        Assert.Contains("whether it ran is unknown", failure.Message, StringComparison.Ordinal);
        await run.Report.Within();
    }

    [Fact] // S41
    public async Task ACallToItself_BeforeItHasStarted_IsRefused()
    {
        var made = new TaskCompletionSource<IVillain>(TaskCreationOptions.RunContinuationsAsynchronously);
        CommandFailedException? refused = null;
        PipelineRun<int> run = StartOne(() => new Villain
        {
            OnStart = async () => refused = await Assert.ThrowsAsync<CommandFailedException>(async () => await (await made.Task).DoAsync("").AsTask().Within()),
        });
        made.SetResult(run.Control<IVillain>("villain"));

        await run.Started.Within();

        Assert.Equal(CommandFailure.NotServed, refused!.Failure);
        await EndAsync(run);
    }

    [Theory] // S41
    [InlineData("in process", 1)]
    [InlineData("in process", 3)]
    [InlineData("own thread", 1)]
    [InlineData("own thread", 3)]
    public async Task ACallToItself_FromEachCallback_RunsAtOnce(string place, int instances)
    {
        IVillain[] self = new IVillain[instances];
        int made = -1, served = 0;
        CommandFailedException? atEnd = null;
        PipelineRun<int> run = StartOne(() =>
        {
            int index = Interlocked.Increment(ref made);
            return new Villain
            {
                OnItem = () => self[index].DoAsync("item"),
                OnCompleted = () => self[index].DoAsync("completed"),
                OnEnd = async () => atEnd = await Assert.ThrowsAsync<CommandFailedException>(() => self[index].DoAsync("end").AsTask().Within()),
                OnDo = (what, _) =>
                {
                    Interlocked.Increment(ref served);
                    return what == "outer" ? self[index].DoAsync("inner", CancellationToken.None) : default;
                },
            };
        }, stage: At(place) with { MaxDegreeOfParallelism = instances });
        for (int i = 0; i < instances; i++)
            self[i] = run.Control<IVillain>("villain", i);
        await run.SendAsync(1, TestToken);
        await self[0].DoAsync("outer", TestToken).AsTask().Within();

        await EndAsync(run);

        Assert.Equal(3 + instances, served);
        Assert.Equal(CommandFailure.StageEnded, atEnd!.Failure);
    }

    [Fact] // S41
    public async Task WorkThatARunnableStartedAtItsStart_IsACallerLikeOthers()
    {
        Gate item = new(), go = new();
        var called = new TaskCompletionSource<Task>();
        IVillain self = null!;
        PipelineRun<int> run = StartOne(() => new Villain
        {
            OnStart = () =>
            {
                _ = Task.Run(async () =>
                {
                    await go.WaitAsync();
                    called.SetResult(self.DoAsync("").AsTask());
                });
                return default;
            },
            OnItem = () =>
            {
                go.Open();
                return new ValueTask(item.WaitAsync());
            },
        });
        self = run.Control<IVillain>("villain");
        await run.SendAsync(1, TestToken);

        Task call = await called.Task.Within();

        Assert.False(call.IsCompleted);
        item.Open();
        await call.Within();
        await EndAsync(run);
    }

    [Fact] // S41
    public async Task WorkThatAHandlerStartedWithoutItsFlow_IsACallerLikeOthers()
    {
        var item = new Gate();
        var called = new TaskCompletionSource<Task>();
        IVillain self = null!;
        PipelineRun<int> run = StartOne(() => new Villain
        {
            OnItem = () =>
            {
                using (ExecutionContext.SuppressFlow())
                    _ = Task.Run(() => called.SetResult(self.DoAsync("").AsTask()));
                return new ValueTask(item.WaitAsync());
            },
        });
        self = run.Control<IVillain>("villain");
        await run.SendAsync(1, TestToken);

        Task call = await called.Task.Within();

        Assert.False(call.IsCompleted);
        item.Open();
        await call.Within();
        await EndAsync(run);
    }

    [Fact] // S42
    public async Task WorkThatOutlivesTheRun_IsRefused()
    {
        Gate go = new();
        bool ran = false;
        var called = new TaskCompletionSource<Task>();
        IVillain self = null!;
        PipelineRun<int> run = StartOne(() => new Villain
        {
            OnItem = () =>
            {
                _ = Task.Run(async () =>
                {
                    await go.WaitAsync();
                    called.SetResult(self.DoAsync("").AsTask());
                });
                return default;
            },
            OnDo = (_, _) =>
            {
                ran = true;
                return default;
            },
        });
        self = run.Control<IVillain>("villain");
        await run.SendAsync(1, TestToken);
        await EndAsync(run);

        go.Open();

        await FailsAsync(async () => await await called.Task, CommandFailure.StageEnded);
        Assert.False(ran);
    }

    [Fact] // S41
    public async Task AStreamThatIsLeft_EndsOnTheRunnablesOwnThread()
    {
        var ended = new TaskCompletionSource<string?>();
        PipelineRun<int> run = StartOne(() => new Villain { OnStream = _ => Values() }, stage: At("own thread"));

        await foreach (int value in run.Control<IVillain>("villain").StreamAsync("", TestToken))
            break;

        Assert.Equal("villain", await ended.Task.Within());
        await EndAsync(run);

        async IAsyncEnumerable<int> Values()
        {
            try
            {
                await Task.Yield();
                yield return 1;
                yield return 2;
            }
            finally
            {
                ended.TrySetResult(Thread.CurrentThread.Name);
            }
        }
    }

    [Fact] // S42
    public async Task AStreamThatIgnoresItsToken_LetsItsReaderGo()
    {
        Gate gate = new();
        PipelineRun<int> run = StartOne(() => new Villain { OnStream = _ => Values() });
        using var source = new CancellationTokenSource();
        IAsyncEnumerator<int> values = run.Control<IVillain>("villain").StreamAsync("", source.Token).GetAsyncEnumerator(TestToken);
        Task<bool> step = values.MoveNextAsync().AsTask();
        await run.Control<IVillain>("villain").DoAsync("", TestToken).AsTask().Within();

        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => step.Within(TimeSpan.FromSeconds(5)));
        await values.DisposeAsync().AsTask().Within();
        gate.Open();
        await EndAsync(run);

        async IAsyncEnumerable<int> Values()
        {
            await gate.WaitAsync(TestToken);
            yield return 1;
        }
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task AStreamThatFailsAtItsEnd_WhenItsReaderHasGivenUp_IsLogged(string place)
    {
        Expect(LateCall);
        PipelineRun<int> run = StartAt(place);
        using var source = new CancellationTokenSource();
        IAsyncEnumerator<int> values = run.Control<IVillain>("villain").StreamAsync("throw at its end", source.Token).GetAsyncEnumerator(TestToken);
        Assert.True(await values.MoveNextAsync().AsTask().Within());

        await source.CancelAsync();
        await values.DisposeAsync().AsTask().Within();

        await Waiting.UntilAsync(() => Log.Records.Any(static r => r.EventId.Id == LateCall && r.Message.Contains("the end of a stream", StringComparison.Ordinal)), "the failure of the end is logged");
        await EndAsync(run);
    }

    [Fact] // S42
    public async Task APool_WhoseInstancesFail_TellsEachFailure()
    {
        Expect(PoolCall);
        int made = -1;
        PipelineRun<int> run = StartOne(() =>
        {
            int index = Interlocked.Increment(ref made);
            return new Villain { OnDo = (_, _) => throw new FormatException($"failure {index}") };
        }, stage: At("in process") with { MaxDegreeOfParallelism = 3 });

        CommandFailedException first = await FailsAsync(() => run.Control<IVillain>("villain").DoAsync("", TestToken).AsTask(), CommandFailure.Threw);

        string all = first.Message + string.Concat(Log.Records.Where(static r => r.EventId.Id == PoolCall).Select(static r => r.Message));
        for (int i = 0; i < 3; i++)
            Assert.Contains($"failure {i}", all, StringComparison.Ordinal);
        await EndAsync(run);
    }

    [Theory] // S41: or two of them would wait for each other
    [InlineData("in process")]
    [InlineData("own thread")]
    public async Task ACallToTheWholePool_FromInstancesOfIt_IsRefused(string place)
    {
        IVillain pool = null!;
        Gate both = new(), allServed = new();
        int begun = 0, served = 0;
        var refused = new ConcurrentQueue<CommandFailedException>();
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(
                () => new Villain
                {
                    OnItem = async () =>
                    {
                        if (Interlocked.Increment(ref begun) == 2)
                            both.Open();
                        await both.WaitAsync(TestToken);
                        refused.Enqueue(await FailsAsync(() => pool.DoAsync("from within", TestToken).AsTask(), CommandFailure.NotServed));
                    },
                    OnDo = (_, _) =>
                    {
                        if (Interlocked.Increment(ref served) == 4)
                            allServed.Open();
                        return default;
                    },
                },
                At(place) with { MaxDegreeOfParallelism = 2 })
            .ForEach(_ => pool.DoAsync("from the next stage", TestToken)));
        pool = run.Control<IVillain>("villain");
        await run.SendAsync(1, TestToken);
        await run.SendAsync(2, TestToken);
        await allServed.WaitAsync(TestToken);
        await EndAsync(run);

        Assert.Equal([0, 1], refused.Select(static r => r.Instance).Order());
        Assert.Equal(4, served);
    }

    [Theory, MemberData(nameof(Places))] // S41
    public async Task ACallToTheWholePool_ByAnObjectThatAnInstanceOfItWaitsFor_IsRefused(string place)
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Then(static () => new Villain(), At(place) with { MaxDegreeOfParallelism = 2 }).ForEach(static _ => { }));
        IVillain pool = run.Control<IVillain>("villain");
        var oracle = new Oracle { OnAnswer = async () => $"{(await FailsAsync(() => pool.DoAsync("", TestToken).AsTask(), CommandFailure.NotServed)).Instance}" };

        Assert.Equal("1", await run.Control<IVillain>("villain", 1).TakeAsync(oracle, TestToken).AsTask().Within());

        await pool.DoAsync("", TestToken).AsTask().Within();
        await EndAsync(run);
    }

    [Theory] // S41: or it would wait for itself
    [InlineData("in process")]
    [InlineData("own thread")]
    public async Task AStreamOfItsOwn_ThatACallbackReads_IsRefused(string place)
    {
        IVillain self = null!;
        CommandFailedException? refused = null;
        PipelineRun<int> run = StartOne(
            () => new Villain
            {
                OnItem = async () => refused = await FailsAsync(() => self.StreamAsync("", TestToken).FirstAsync(TestToken).AsTask(), CommandFailure.NotServed),
                OnStream = static _ => Values(),
            },
            stage: At(place));
        self = run.Control<IVillain>("villain");
        await run.SendAsync(1, TestToken);

        await EndAsync(run);

        Assert.Equal($"{nameof(IVillain)}.{nameof(IVillain.StreamAsync)}", refused!.Member);
        Assert.Equal(1, (await run.Report).Stage("villain").Delivered);

        static async IAsyncEnumerable<int> Values()
        {
            await Task.Yield();
            yield return 1;
        }
    }

    [Theory, MemberData(nameof(Places))] // S41: or it would wait for itself
    public async Task AStream_ThatAnObjectReadsOfTheInstanceThatWaitsForIt_IsRefused(string place)
    {
        PipelineRun<int> run = StartAt(place);
        IVillain villain = run.Control<IVillain>("villain");
        var oracle = new Oracle { OnAnswer = async () => $"{(await FailsAsync(() => villain.StreamAsync("wait", TestToken).LastAsync(TestToken).AsTask(), CommandFailure.NotServed)).Failure}" };

        Assert.Equal(nameof(CommandFailure.NotServed), await villain.TakeAsync(oracle, TestToken).AsTask().Within());

        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S41
    public async Task AnObjectOfTheCaller_MayCallTheStageThatCallsIt(string place)
    {
        PipelineRun<int> run = StartAt(place);
        IVillain villain = run.Control<IVillain>("villain");
        var oracle = new Oracle { OnAnswer = async () => $"{await villain.LengthAsync([1, 2, 3])}" };

        Assert.Equal("3", await villain.TakeAsync(oracle, TestToken).AsTask().Within());

        // An object of the stage that is given back to it.
        ISession session = (await villain.LendAsync("guest", TestToken).AsTask().Within())!;
        Assert.Equal("guest says hello to Eve", await villain.VisitAsync(session).AsTask().Within());
        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task AnObjectOfTheCaller_ThatFailsAsTheLibraryDoes_Threw(string place)
    {
        PipelineRun<int> run = StartAt(place);
        IVillain villain = run.Control<IVillain>("villain");
        foreach (Exception thrown in (Exception[])[
            new CommandFailedException("another stage", 0, "IAnother.Member", CommandFailure.StageEnded, "the other stage has completed.", null),
            new ItemCodecException(typeof(int), null, "of a codec of its own")])
        {
            var oracle = new Oracle { OnAnswer = () => throw thrown };

            CommandFailedException failure = await FailsAsync(() => villain.TakeAsync(oracle, TestToken).AsTask(), CommandFailure.Threw);

            // What its object threw is what the call of the runnable to it failed by, and with that the caller's.
            Assert.Contains($"{nameof(IOracle)}.{nameof(IOracle.AnswerAsync)} of stage 'villain' failed in process", failure.Message, StringComparison.Ordinal);
            Assert.Contains(thrown.Message, failure.Message, StringComparison.Ordinal);
        }

        await EndAsync(run);
    }

    [Theory, MemberData(nameof(Places))] // S42
    public async Task ACallThatNeverRuns_KeepsNoObjectOfItsCaller(string place)
    {
        PipelineRun<int> run = StartAt(place);
        IVillain villain = run.Control<IVillain>("villain");
        using var source = new CancellationTokenSource();
        Task blocking = villain.DoAsync("throw from a callback of the token", source.Token).AsTask();
        await UntilItWaitsAsync();
        Expect(LateCall);
        Expect(50);

        List<WeakReference> given = [await GiveAsync(villain, isFiredBefore: true), await GiveAsync(villain, isFiredBefore: false)];

        // While the other one still runs, so that they cannot have.
        await Waiting.UntilFreeAsync(given, "the objects of calls that never ran");
        await source.CancelAsync().ContinueWith(static _ => { }, TaskScheduler.Default).Within();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => blocking.Within());
        Assert.Equal(1, await villain.LengthAsync([1], TestToken).AsTask().Within());

        await EndAsync(run);
        given = [await GiveAsync(villain, isFiredBefore: false)];
        await Waiting.UntilFreeAsync(given, "the object of a call after the end");
        GC.KeepAlive(run);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<WeakReference> GiveAsync(IVillain villain, bool isFiredBefore)
    {
        var oracle = new Oracle();
        using var source = new CancellationTokenSource();
        if (isFiredBefore)
            await source.CancelAsync();
        Task call = villain.TakeAsync(oracle, source.Token).AsTask();
        await source.CancelAsync();
        await call.ContinueWith(static t => t.Exception, TaskScheduler.Default);
        return new WeakReference(oracle);
    }

    [Fact] // S41
    public async Task CommandsThatEmit_IntoFullLinks_OfAnOrderedPool_AndTheirCallersEnd()
    {
        int seen = 0;
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Then(static () => new Villain(), At("in process") with { MaxDegreeOfParallelism = 3, BoundedCapacity = 4 })
            .ForEach(_ => { seen++; }, new() { BoundedCapacity = 1 }));
        Task sending = Task.Run(async () =>
        {
            for (int i = 0; i < 1_000; i++)
                await run.SendAsync(i, TestToken);
        });
        IVillain villain = run.Control<IVillain>("villain");

        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => villain.DoAsync("emit", TestToken).AsTask())).Within();

        await sending.Within();
        await EndAsync(run);
        Assert.Equal(1_000 + (4 * 3 * 1_000), seen);
    }

    [Theory] // S38, S42
    [InlineData("loopback")]
    [InlineData("child process")]
    public async Task ArgumentsThatCannotTravel_FailTheirCall_AndNameTheMember(string place)
    {
        Expect(50);
        PipelineRun<int> run = StartAt(place);
        IVillain villain = run.Control<IVillain>("villain");

        CommandFailedException type = await FailsAsync(() => villain.HoldAsync(new Trap { Value = new Thread(static () => { }) }).AsTask(), CommandFailure.NotCarried);
        Assert.Contains(nameof(Trap.Value), type.Message, StringComparison.Ordinal);
        Assert.Contains(nameof(IVillain.HoldAsync), type.Message, StringComparison.Ordinal);
        CommandFailedException size = await FailsAsync(() => villain.LengthAsync(new byte[65 * 1024 * 1024], TestToken).AsTask(), CommandFailure.NotCarried);
        Assert.Contains("67108864", size.Message, StringComparison.Ordinal);
        Assert.Equal(63 * 1024 * 1024, await villain.LengthAsync(new byte[63 * 1024 * 1024], TestToken).AsTask().Within());
        Assert.Equal(1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 6, await villain.ManyAsync(1, "b", 1, 1, true, [1], "g", 1, new Town("t", [1]), new Oracle()).AsTask().Within());
        await EndAsync(run);
    }

    [Fact] // S42
    public async Task WhatAMemberLogged_IsInTheLog_BeforeItsCallerGoesOn()
    {
        PipelineRun<int> run = StartAt("child process");
        IVillain villain = run.Control<IVillain>("villain");
        for (int i = 1; i <= 10; i++)
        {
            await villain.DoAsync("log", TestToken).AsTask().Within();
            Assert.Equal(100 * i, Log.Records.Count(static r => r.Message.StartsWith("before the answer", StringComparison.Ordinal)));
        }

        await EndAsync(run);
    }

    [Fact] // S42
    public async Task APool_WhoseCallerGivesUp_LetsHimGo_AndTellsWhatFailedBefore()
    {
        Expect(PoolCall);
        using var source = new CancellationTokenSource();
        int made = -1;
        PipelineRun<int> run = StartOne(() =>
        {
            int index = Interlocked.Increment(ref made);
            return new Villain { OnDo = (_, ct) => index == 0 ? throw new FormatException("failure") : new ValueTask(Task.Delay(Timeout.Infinite, ct)) };
        }, stage: At("in process") with { MaxDegreeOfParallelism = 2 });
        Task call = run.Control<IVillain>("villain").DoAsync("", source.Token).AsTask();

        // The instance that answers the next call has failed the first; the other is still at it.
        Task<int>[] next = [.. Enumerable.Range(0, 2).Select(i => run.Control<IVillain>("villain", i).LengthAsync([1], TestToken).AsTask())];
        await Task.WhenAny(next).Within();
        await source.CancelAsync();

        Assert.Equal(source.Token, (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call.Within())).CancellationToken);
        Assert.Contains("failure", Assert.Single(Log.Records, static r => r.EventId.Id == PoolCall).Message, StringComparison.Ordinal);
        await Task.WhenAll(next).Within();
        await EndAsync(run);
    }

    private const int LateCall = 52;
    private const int Abandoned = 12;
    private const int ChildLost = 40;
    private const int PoolCall = 53;

    private sealed class Oracle : IOracle
    {
        public Func<Task<string>> OnAnswer { get; init; } = static () => Task.FromResult("answer");

        public Action<CancellationToken> OnToken { get; init; } = static _ => { };

        public async ValueTask<string> AnswerAsync(string question, CancellationToken cancellationToken)
        {
            OnToken(cancellationToken);
            return await OnAnswer();
        }

        public ValueTask DisposeAsync() => default;
    }
}
