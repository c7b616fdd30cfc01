using Puma.Dataflow.Runnables;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Runnables;

/// <summary>A time that runs down and stands still in pauses.</summary>
public sealed class TimeLeftTests
{
    private readonly TestClock _time = new();

    [Fact]
    public void ItStandsStill_AsLongAsOneOfItsPausesLasts()
    {
        var left = new TimeLeft(_time, TimeSpan.FromSeconds(3));
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(left.Pause());
        Assert.False(left.Pause());
        _time.Advance(TimeSpan.FromSeconds(5));
        Assert.False(left.Resume());
        _time.Advance(TimeSpan.FromSeconds(5));

        Assert.Equal((TimeSpan.FromSeconds(2), true), (left.Left, left.IsPaused));
        Assert.True(left.Resume());
        Assert.False(left.Resume());
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.False(left.IsUp);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(left.IsUp);
    }

    [Fact]
    public void WhatIsUp_IsUpInAPauseToo()
    {
        var left = new TimeLeft(_time, TimeSpan.FromSeconds(1));
        _time.Advance(TimeSpan.FromSeconds(5));
        left.Pause();

        Assert.Equal((TimeSpan.Zero, true), (left.Left, left.IsUp));
    }

    [Fact]
    public void AnInfiniteTime_IsNeverUp()
    {
        var left = new TimeLeft(_time, Timeout.InfiniteTimeSpan);
        _time.Advance(TimeSpan.FromSeconds(1));
        left.Pause();
        left.Resume();
        _time.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal((Timeout.InfiniteTimeSpan, false), (left.Left, left.IsUp));
    }
}
