using System.Diagnostics;
using Puma.Dataflow.Buffers;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Buffers;

/// <summary>The turns of a stream: what they keep back, for whom, and until when.</summary>
public sealed class TurnTests
{
    // On a busy machine a turn may be long, or be looked at by the watch, at any moment: each test tries until it was let alone.
    // A sleep in a turn waits for nothing: it makes the turn long by the system's clock, which is the only one that turns have.

    [Fact]
    public async Task AWakeupThatAQuickTurnCauses_GoesOnOnItsThread_WhenTheTurnHasEnded()
    {
        await using var second = new TestStream();
        await using var first = new TestStream();
        await UntilItIsSeenAsync(async () =>
        {
            await second.BecomeQuickAsync();
            await first.BecomeQuickAsync();
            (int Thread, int Turns) inFirst = default;
            int secondThread = 0, before = second.Turns;
            bool isKept = false;
            var done = new Gate();
            second.OnTurn = () =>
            {
                secondThread = Environment.CurrentManagedThreadId;
                done.Open();
            };
            first.OnTurn = () =>
            {
                first.OnTurn = static () => { };
                isKept = Turn.IsKeeping(first);
                second.Wakeup.Set();
                inFirst = (Environment.CurrentManagedThreadId, second.Turns);
            };

            first.Wakeup.Set();
            await done.WaitAsync(TestContext.Current.CancellationToken);
            second.OnTurn = static () => { };
            return isKept && inFirst == (secondThread, before);
        });
    }

    [Fact]
    public async Task AQuickTurnThatBlocks_GivesBackWhatItKeeps()
    {
        await using var second = new TestStream();
        await using var first = new TestStream();
        await UntilItIsSeenAsync(async () =>
        {
            await second.BecomeQuickAsync();
            await first.BecomeQuickAsync();
            int endsBefore = first.TurnEnds;
            bool isKept = false;
            Gate done = new(), ended = new();
            second.OnTurn = done.Open;
            first.OnTurn = () =>
            {
                first.OnTurn = static () => { };
                isKept = Turn.IsKeeping(first);
                second.Wakeup.Set();

                // Whether it is kept or not, and on whatever thread.
                done.Block();
                ended.Open();
            };

            first.Wakeup.Set();
            await ended.WaitAsync(TestContext.Current.CancellationToken);
            second.OnTurn = static () => { };
            return isKept && first.TurnEnds > endsBefore;
        });
    }

    [Fact]
    public async Task ALongTurn_KeepsNothingBack_AndNeitherDoesTheNextOne()
    {
        await using var stream = new TestStream();
        await UntilItIsSeenAsync(async () =>
        {
            await stream.BecomeQuickAsync();
            var keeps = new List<bool>();
            var gate = new Gate();
            stream.OnTurn = () =>
            {
                keeps.Add(Turn.IsKeeping(stream));
                if (keeps.Count == 1)
                    Thread.Sleep(5);
                else
                    gate.Open();
            };

            stream.Wakeup.Set();
            await Waiting.UntilAsync(() => keeps.Count == 1 && !stream.Wakeup.IsQuick, "the turn has ended, and was long");
            stream.Wakeup.Set();
            await gate.WaitAsync(TestContext.Current.CancellationToken);
            stream.OnTurn = static () => { };

            Assert.False(keeps[1]);
            return keeps[0];
        });
    }

    [Fact]
    public async Task Looks_AreFarther_WhileItemsAreVeryShort()
    {
        await using var stream = new TestStream();
        await UntilItIsSeenAsync(async () =>
        {
            await stream.BecomeQuickAsync();
            long afterFirst = 0, afterSecond = 0, afterLong = 0;
            var done = new Gate();
            stream.OnTurn = () =>
            {
                stream.OnTurn = static () => { };
                var looks = new Looks(10);
                looks.Look(stream, 100);
                afterFirst = looks.Due;
                looks.Look(stream, 200);
                afterSecond = looks.Due;
                Thread.Sleep(5);
                looks.Look(stream, 300);
                afterLong = looks.Due;
                done.Open();
            };

            stream.Wakeup.Set();
            await done.WaitAsync(TestContext.Current.CancellationToken);

            // The items before the first look may have been in an earlier turn, for all that it knows.
            Assert.Equal((110, 310), (afterFirst, afterLong));
            return afterSecond == 240;
        });
    }

    [Fact]
    public async Task Looks_OutsideOfATurn_AreAsFarAsEver()
    {
        await using var stream = new TestStream();
        var looks = new Looks(10);
        Assert.Equal(10, looks.Due);

        looks.Look(stream, 100);
        looks.Look(stream, 200);

        Assert.Equal(210, looks.Due);
    }

    [Fact]
    public async Task AWakeupOfAStreamThatIsNotKnownToBeQuick_IsNotKept()
    {
        await using var other = new TestStream();
        await using var first = new TestStream();
        await UntilItIsSeenAsync(async () =>
        {
            await first.BecomeQuickAsync();
            (bool Keeps, bool IsKept) seen = default;
            var ended = new Gate();
            first.OnTurn = () =>
            {
                first.OnTurn = static () => { };
                seen = (Turn.IsKeeping(first), Turn.TryKeep(other.Wakeup));
                ended.Open();
            };

            first.Wakeup.Set();
            await ended.WaitAsync(TestContext.Current.CancellationToken);

            Assert.False(seen.IsKept);
            return seen.Keeps;
        });
    }

    [Theory] // S47: a reader whose writer loses items, or fails, when it finds no slot, is not kept waiting
    [InlineData(FullMode.Wait, true)]
    [InlineData(FullMode.DropNewest, false)]
    [InlineData(FullMode.Fail, false)]
    public void AStageWithAnInputThatDoesNotWait_IsNotKept(FullMode mode, bool takesTurns)
    {
        var end = new TestStream();
        var links = new StageLinks { Inputs = [new BurstLink<int>("writer", "reader", 4, end, end) { FullMode = mode, OnDiscarded = static (_, _) => { } }] };

        Assert.Equal(!takesTurns, links.IsLossy);
    }

    [Fact]
    public void OutsideOfATurn_NothingIsKept()
    {
        var stream = new TestStream();

        Assert.False(Turn.TryKeep(stream.Wakeup));
        Assert.False(Turn.IsKeeping(stream));
    }

    [Fact]
    public async Task ATurnThatWakesTwo_KeepsTheSecondAsWell_WhenItHasNotPaidToGiveItAway()
    {
        await using var three = new ThreeStreams();
        await UntilItIsSeenAsync(async () =>
        {
            int kept = 0;
            for (int i = 0; i < 20; i++)
            {
                for (int n = 0; n < GivingAway.MostInVain; n++)
                    three.Third.Wakeup.GivingAway.Note(hasPaid: false);
                kept += await three.IsThirdKeptAsync() ? 1 : 0;
            }

            // Now and then another thread takes what shows that.
            return kept >= 10;
        });
    }

    [Fact]
    public async Task ATurnThatWakesTwo_GivesTheSecondAway_AsLongAsThatPays()
    {
        await using var three = new ThreeStreams();
        await UntilItIsSeenAsync(async () =>
        {
            int given = 0;
            for (int i = 0; i < 20; i++)
            {
                three.Second.OnTurn = static () =>
                {
                    // Longer than it takes another thread to begin, and short enough to be kept.
                    long begin = Stopwatch.GetTimestamp();
                    while (Stopwatch.GetElapsedTime(begin) < TimeSpan.FromMicroseconds(5))
                    {
                    }
                };
                await three.WakeAsync();
                given += three.Third.Wakeup.GivingAway.Decide() ? 1 : 0;
            }

            // The watch may take what the thread is still busy with, so that it seems in vain; not every time.
            return given >= 10;
        });
    }

    [Fact]
    public async Task ATurnThatWakesTwo_AndHasNothingElseToDo_ComesToKeepTheSecond()
    {
        await using var three = new ThreeStreams();
        await UntilItIsSeenAsync(async () =>
        {
            await three.WakeAsync();
            return !three.Third.Wakeup.GivingAway.Decide();
        });
    }

    [Fact]
    public async Task AThreadThatReceives_RunsTheTurnOfItsStream_AndThoseKeptInIt_BeforeItGoesOn()
    {
        await using var second = new TestStream();
        await using var first = new TestStream();
        first.Wakeup.StaysWithReceiver = true;
        await UntilItIsSeenAsync(async () =>
        {
            await second.BecomeQuickAsync();
            await first.BecomeQuickAsync();
            int secondThread = 0, firstThread = 0, receiver = 0;
            bool goesOn = false;
            second.OnTurn = () => secondThread = Environment.CurrentManagedThreadId;
            first.OnTurn = () =>
            {
                firstThread = Environment.CurrentManagedThreadId;
                second.Wakeup.Set();
            };
            await PumpThread.RunAsync(
                () =>
                {
                    receiver = Environment.CurrentManagedThreadId;
                    goesOn = Turn.TakeWoken(first.Wakeup.Set, static () => { });
                },
                "test").Within();
            (first.OnTurn, second.OnTurn) = (static () => { }, static () => { });
            return goesOn && (firstThread, secondThread) == (receiver, receiver);
        });
    }

    [Fact]
    public async Task WhatIsLeftOnAThreadWithOtherWork_IsNotForTheStream()
    {
        await using var stream = new TestStream();
        SynchronizationContext? found = null;

        await TakeWokenAsync(
            stream,
            () => found = SynchronizationContext.Current,
            static () => { },
            static () => SynchronizationContext.SetSynchronizationContext(new SynchronizationContext()));

        Assert.Null(found);
    }

    [Fact] // S27: who blocks keeps nobody from receiving
    public async Task AThreadThatReceives_AndIsKeptByUserCode_IsRelieved()
    {
        await using var stream = new TestStream();
        var isRelieved = new Gate();

        Assert.False(await TakeWokenAsync(stream, isRelieved.Block, isRelieved.Open));
    }

    [Fact] // S27: also when it goes on all the time
    public async Task AThreadThatReceives_AndIsKeptByALongTurn_IsRelieved()
    {
        await using var stream = new TestStream();
        bool isRelieved = false;
        long lookedAt = 0;

        bool goesOn = await TakeWokenAsync(
            stream,
            () =>
            {
                // Now long, now short: it begins to keep things back again and again.
                long start = Environment.TickCount64;
                while (!Volatile.Read(ref isRelieved) && Environment.TickCount64 - start < Waiting.Limit.TotalMilliseconds)
                {
                    Thread.SpinWait(1000);
                    Turn.Look(stream, ref lookedAt);
                    Turn.Look(stream, ref lookedAt);
                }
            },
            () => Volatile.Write(ref isRelieved, true));

        Assert.False(goesOn);
    }

    [Fact]
    public async Task AThreadThatReceives_RunsNoOtherStream_HoweverQuick()
    {
        await using var stream = new TestStream();
        await stream.BecomeQuickAsync();
        var taken = new Gate();
        int receiver = 0, streamThread = 0;
        stream.OnTurn = () =>
        {
            streamThread = Environment.CurrentManagedThreadId;
            taken.Open();
        };

        await PumpThread.RunAsync(
            () =>
            {
                receiver = Environment.CurrentManagedThreadId;
                Assert.True(Turn.TakeWoken(stream.Wakeup.Set, relief: null));
            },
            "test").Within();

        await taken.WaitAsync(TestContext.Current.CancellationToken);
        stream.OnTurn = static () => { };
        Assert.NotEqual(receiver, streamThread);
    }

    [Fact] // S27, S34: what a thread owes is done by another one, when user code keeps it
    public async Task AThreadThatOwes_AndIsKeptByUserCode_IsRelieved()
    {
        var isRelieved = new Gate();
        bool stillOwes = true;

        await PumpThread.RunAsync(
            () =>
            {
                var turn = Turn.OfThread();
                turn.Owe(isRelieved.Open);
                isRelieved.Block();
                stillOwes = turn.Pay();
            },
            "test").Within();

        Assert.False(stillOwes);
    }

    [Fact]
    public async Task WhatAThreadOwes_IsDoneOnce()
    {
        int owed = 0, relieved = 0, paid = 0;
        await UntilItIsSeenAsync(async () =>
        {
            await PumpThread.RunAsync(
                () =>
                {
                    var turn = Turn.OfThread();
                    for (int i = 0; i < 100; i++)
                    {
                        turn.Owe(() => Interlocked.Increment(ref relieved));
                        owed++;

                        // Now longer than the watch takes to come by, now shorter.
                        Thread.SpinWait(1 << (i % 17));
                        paid += turn.Pay() ? 1 : 0;
                    }
                },
                "test").Within();
            await Waiting.UntilAsync(() => paid + Volatile.Read(ref relieved) == owed, "each was done by one of them");
            return relieved > 0 && paid > 0;
        });
    }

    /// <summary>Takes a turn of a stream on a thread that receives.</summary>
    private static async Task<bool> TakeWokenAsync(TestStream stream, Action onTurn, Action relief, Action? before = null)
    {
        stream.Wakeup.StaysWithReceiver = true;
        bool goesOn = true;
        await UntilItIsSeenAsync(async () =>
        {
            await stream.BecomeQuickAsync();
            int receiver = 0;
            bool wasHere = false;
            stream.OnTurn = () =>
            {
                if (Environment.CurrentManagedThreadId != Volatile.Read(ref receiver))
                    return;
                wasHere = true;
                onTurn();
            };
            await PumpThread.RunAsync(
                () =>
                {
                    Volatile.Write(ref receiver, Environment.CurrentManagedThreadId);
                    before?.Invoke();
                    goesOn = Turn.TakeWoken(stream.Wakeup.Set, relief);
                },
                "test").Within();
            stream.OnTurn = static () => { };
            return wasHere;
        });
        return goesOn;
    }

    private static Task UntilItIsSeenAsync(Func<Task<bool>> attempt) => Waiting.UntilItIsSeenAsync(attempt, "a turn is let alone");

    /// <summary>The first one wakes the two others in its turn.</summary>
    private sealed class ThreeStreams : IAsyncDisposable
    {
        public TestStream First { get; } = new();

        public TestStream Second { get; } = new();

        public TestStream Third { get; } = new();

        /// <summary>Wakes them, all quick; returns when the third one had its turn.</summary>
        public async Task WakeAsync()
        {
            (Action second, Action third) = (Second.OnTurn, Third.OnTurn);
            (Second.OnTurn, Third.OnTurn) = (static () => { }, static () => { });
            foreach (TestStream stream in (TestStream[])[Third, Second, First])
                await stream.BecomeQuickAsync();
            (Second.OnTurn, Third.OnTurn) = (second, third);
            int before = Third.Turns;
            First.OnTurn = () =>
            {
                Second.Wakeup.Set();
                Third.Wakeup.Set();
            };
            First.Wakeup.Set();
            await Waiting.UntilAsync(() => Third.Turns > before, "the third stream had its turn");
            First.OnTurn = static () => { };
        }

        /// <summary>Wakes them, and tells whether the third one went on on the thread of the others before that looked for other work.</summary>
        public async Task<bool> IsThirdKeptAsync()
        {
            int thread = 0;
            bool hasLookedForWork = false, isKept = false;
            Second.OnTurn = () =>
            {
                thread = Environment.CurrentManagedThreadId;

                // A thread of the pool takes what it has queued itself before anything else.
                ThreadPool.UnsafeQueueUserWorkItem(_ => Volatile.Write(ref hasLookedForWork, true), 0, preferLocal: true);
            };
            Third.OnTurn = () => isKept = Environment.CurrentManagedThreadId == thread && !Volatile.Read(ref hasLookedForWork);
            await WakeAsync();
            (Second.OnTurn, Third.OnTurn) = (static () => { }, static () => { });
            return isKept;
        }

        public async ValueTask DisposeAsync()
        {
            await First.DisposeAsync();
            await Second.DisposeAsync();
            await Third.DisposeAsync();
        }
    }

    /// <summary>A stream that does nothing but take its turns.</summary>
    private sealed class TestStream : ILinkEnd, IAsyncDisposable
    {
        private readonly Task _running;
        private volatile bool _isOver;
        private int _turns;
        private int _turnEnds;

        public TestStream() => _running = RunAsync();

        public Wakeup Wakeup { get; } = new();

        public Action OnTurn { get; set; } = static () => { };

        public int Turns => Volatile.Read(ref _turns);

        public int TurnEnds => Volatile.Read(ref _turnEnds);

        public void Wake() => Wakeup.Set();

        public void OnReaderClosed() { }

        public void EndTurn(Turn turn) => Interlocked.Increment(ref _turnEnds);

        /// <summary>Takes turns until one was short, which a busy machine may prevent for a while.</summary>
        public async Task BecomeQuickAsync()
        {
            while (!Wakeup.IsQuick)
            {
                int before = Turns;
                Wakeup.Set();
                await Waiting.UntilAsync(() => Turns > before, "a turn was taken");
                await Waiting.LetOthersRunAsync();
            }
        }

        public async ValueTask DisposeAsync()
        {
            _isOver = true;
            Wakeup.Set();
            await _running.Within();
        }

        private async Task RunAsync()
        {
            while (true)
            {
                await Wakeup.WaitAsync(this).ConfigureAwait(false);
                if (_isOver)
                    return;
                OnTurn();
                Interlocked.Increment(ref _turns);
            }
        }
    }
}
