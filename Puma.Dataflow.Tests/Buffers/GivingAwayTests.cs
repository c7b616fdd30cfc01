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
            Assert.True(giving.Decide());
            giving.Note(hasPaid: false);
        }

        for (int trial = 0; trial < 3; trial++)
        {
            for (int i = 0; i < GivingAway.NoesBeforeTrial; i++)
                Assert.False(giving.Decide());
            Assert.True(giving.Decide());
            giving.Note(hasPaid: false);
        }
    }

    [Fact]
    public void WhatPays_IsGivenAwayAgain()
    {
        GivingAway giving = new();
        for (int i = 0; i < GivingAway.MostInVain; i++)
            giving.Note(hasPaid: false);
        Assert.False(giving.Decide());

        giving.Note(hasPaid: true);

        for (int i = 0; i < GivingAway.MostInVain; i++)
        {
            Assert.True(giving.Decide());
            giving.Note(hasPaid: false);
        }

        Assert.False(giving.Decide());
    }
}
