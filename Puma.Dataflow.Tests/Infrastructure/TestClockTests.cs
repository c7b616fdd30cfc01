using System.Runtime.CompilerServices;

namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>Tests that move the clock count on what has happened when it has moved.</summary>
public sealed class TestClockTests
{
    private static CancellationToken TestToken => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Advance_WhileAnotherThreadReadsTheClockAndSetsTimers_HasCalledBackWhenItReturns()
    {
        const int Seconds = 20_000;
        var clock = new TestClock();
        var ended = new StrongBox<bool>();
        Task other = Task.Factory.StartNew(
            () =>
            {
                using ITimer timer = clock.CreateTimer(static _ => { }, null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
                while (!Volatile.Read(ref ended.Value))
                {
                    _ = clock.GetTimestamp();
                    timer.Change(TimeSpan.Zero, Timeout.InfiniteTimeSpan);
                    timer.Change(TimeSpan.FromTicks(1), Timeout.InfiniteTimeSpan);
                }
            },
            TestToken,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        int calls = 0;
        using ITimer each = clock.CreateTimer(_ => calls++, null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));
        try
        {
            for (int second = 1; second <= Seconds; second++)
            {
                clock.Advance(TimeSpan.FromSeconds(1));
                Assert.Equal(second, calls);
            }
        }
        finally
        {
            Volatile.Write(ref ended.Value, true);
            await other.Within();
        }
    }

    [Fact]
    public void TimersThatAreDue_CallBackInTheirOrder_AndPeriodsMakeUpForWhatTheyMissed()
    {
        var clock = new TestClock();
        var called = new List<string>();
        using ITimer late = clock.CreateTimer(_ => called.Add("late"), null, TimeSpan.FromSeconds(3), Timeout.InfiniteTimeSpan);
        using ITimer each = clock.CreateTimer(_ => called.Add("each"), null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(2));
        using ITimer stopped = clock.CreateTimer(_ => called.Add("stopped"), null, TimeSpan.FromSeconds(1), Timeout.InfiniteTimeSpan);
        using ITimer atOnce = clock.CreateTimer(_ => called.Add("at once"), null, TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        stopped.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

        clock.Advance(TimeSpan.FromSeconds(3));
        each.Dispose();
        clock.Advance(TimeSpan.FromSeconds(3));

        Assert.Equal(["at once", "each", "late", "each"], called);
        Assert.False(each.Change(TimeSpan.Zero, TimeSpan.Zero));
    }
}
