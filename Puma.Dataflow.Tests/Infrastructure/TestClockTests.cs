namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>What tests rely on when they move the clock.</summary>
public sealed class TestClockTests
{
    private static readonly TimeSpan s_second = TimeSpan.FromSeconds(1);

    private readonly TestClock _clock = new();
    private readonly List<string> _called = [];

    [Fact]
    public async Task Advance_WhileAnotherThreadReadsTheClockAndSetsTimers_HasCalledBackWhenItReturns()
    {
        const int Seconds = 20_000;
        var begun = new Gate();
        bool isOver = false;
        Task other = Task.Factory.StartNew(
            () =>
            {
                using ITimer timer = _clock.CreateTimer(static _ => { }, null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
                while (!Volatile.Read(ref isOver))
                {
                    _ = _clock.GetTimestamp();
                    timer.Change(TimeSpan.Zero, Timeout.InfiniteTimeSpan);
                    timer.Change(TimeSpan.FromTicks(1), Timeout.InfiniteTimeSpan);
                    begun.Open();
                }
            },
            TestContext.Current.CancellationToken,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        int calls = 0;
        using ITimer each = _clock.CreateTimer(_ => calls++, null, s_second, s_second);
        try
        {
            await begun.WaitAsync();
            for (int second = 1; second <= Seconds; second++)
            {
                _clock.Advance(s_second);
                Assert.Equal(second, calls);
            }
        }
        finally
        {
            Volatile.Write(ref isOver, true);
            await other.Within();
        }
    }

    [Fact]
    public void TimersThatAreDue_CallBackInTheirOrder_AndPeriodsMakeUpForWhatTheyMissed()
    {
        using ITimer late = Make("late", 3 * s_second);
        using ITimer each = Make("each", s_second, 2 * s_second);
        using ITimer stopped = Make("stopped", s_second);
        using ITimer atOnce = Make("at once", TimeSpan.Zero);
        stopped.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

        _clock.Advance(3 * s_second);
        each.Dispose();
        _clock.Advance(3 * s_second);

        Assert.Equal(["at once", "each", "late", "each"], _called);
        Assert.False(each.Change(TimeSpan.Zero, TimeSpan.Zero));
    }

    [Fact]
    public void ACallback_MaySetItsTimerAgain_MakeOthers_AndEndItsOwn()
    {
        ITimer again = null!, ended = null!, made = null!;
        again = _clock.CreateTimer(
            _ =>
            {
                _called.Add("again");
                if (_called.Count < 3)
                    again.Change(s_second, Timeout.InfiniteTimeSpan);
                made ??= Make("made", s_second);
            },
            null,
            s_second,
            Timeout.InfiniteTimeSpan);
        ended = _clock.CreateTimer(
            _ =>
            {
                _called.Add("ended");
                ended.Dispose();
            },
            null,
            2 * s_second,
            s_second);

        for (int i = 0; i < 5; i++)
            _clock.Advance(s_second);

        Assert.Equal(["again", "ended", "again", "made"], _called);
        again.Dispose();
        made.Dispose();
    }

    [Theory]
    [InlineData(-2)]
    [InlineData(uint.MaxValue)]
    public void TimesThatTheSystemRefuses_AreRefused(long milliseconds)
    {
        TimeSpan time = TimeSpan.FromMilliseconds(milliseconds);
        foreach (TimeProvider clock in (TimeProvider[])[_clock, TimeProvider.System])
        {
            using ITimer one = clock.CreateTimer(static _ => { }, null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            Assert.Throws<ArgumentOutOfRangeException>(() => one.Change(time, Timeout.InfiniteTimeSpan));
            Assert.Throws<ArgumentOutOfRangeException>(() => one.Change(TimeSpan.Zero, time));
        }
    }

    private ITimer Make(string name, TimeSpan dueTime, TimeSpan? period = null) => _clock.CreateTimer(_ => _called.Add(name), null, dueTime, period ?? Timeout.InfiniteTimeSpan);
}
