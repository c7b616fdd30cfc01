using Puma.Dataflow.Buffers;

namespace Puma.Dataflow.Tests.Buffers;

public sealed class GivingAwayTests
{
    [Fact]
    public void WhatDidNotPayOftenEnough_IsKeptForAWhile_AndThenTriedOnce()
    {
        GivingAway giving = new();
        for (int i = 0; i < GivingAway.MostInVain; i++)
        {
            Assert.True(giving.IsDue());
            giving.Note(hasPaid: false);
        }

        for (int trial = 0; trial < 3; trial++)
        {
            for (int i = 0; i < GivingAway.KeptInSuccession; i++)
                Assert.False(giving.IsDue());
            Assert.True(giving.IsDue());
            giving.Note(hasPaid: false);
        }
    }

    [Fact]
    public void WhatPays_IsGivenAwayAgain()
    {
        GivingAway giving = new();
        for (int i = 0; i < GivingAway.MostInVain; i++)
            giving.Note(hasPaid: false);
        Assert.False(giving.IsDue());

        giving.Note(hasPaid: true);

        for (int i = 0; i < GivingAway.MostInVain; i++)
        {
            Assert.True(giving.IsDue());
            giving.Note(hasPaid: false);
        }

        Assert.False(giving.IsDue());
    }
}
