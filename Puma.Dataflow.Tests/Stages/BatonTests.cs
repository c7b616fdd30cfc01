using Puma.Dataflow.Stages;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Stages;

/// <summary>Exactly one has the baton.</summary>
public sealed class BatonTests
{
    private readonly Baton _baton = new();

    [Fact]
    public void AnOffer_IsTakenOnce_AndReturned()
    {
        Assert.True(_baton.IsHome);
        Assert.False(_baton.TryTake());
        _baton.Offer();
        Assert.False(_baton.IsHome);

        Assert.True(_baton.TryTake());
        Assert.False(_baton.TryTake());
        Assert.False(_baton.TryWithdraw());
        _baton.Return();
        Assert.True(_baton.IsHome);
    }

    [Fact]
    public void AnOfferThatIsWithdrawn_IsTakenByNobody()
    {
        _baton.Offer();

        Assert.True(_baton.TryWithdraw());
        Assert.False(_baton.TryTake());
        Assert.True(_baton.IsHome);
    }

    [Fact]
    public void ARecalledBaton_IsReturnedBeforeUserCodeBegins()
    {
        Take();

        Assert.False(_baton.Recall());
        Assert.False(_baton.Recall());
        Assert.False(_baton.TryEnterUserCode());
        Assert.False(_baton.IsHome);
        _baton.Return();
        Assert.True(_baton.Recall());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void FromUserCode_ItIsTakenAway(bool byTheStream)
    {
        Take();
        Assert.True(_baton.TryEnterUserCode());

        Assert.True(byTheStream ? _baton.Recall() : _baton.RecallForStream());
        Assert.True(_baton.IsHome);
        Assert.False(_baton.TryLeaveUserCode());
    }

    [Fact]
    public void OthersThanTheStream_LetAnOfferStand()
    {
        _baton.Offer();

        Assert.False(_baton.RecallForStream());
        Assert.True(_baton.TryTake());
    }

    [Fact]
    public async Task ManyWhoWantIt_AtMostOneHasIt()
    {
        int holders = 0, rounds = 0;
        using CancellationTokenSource over = new();
        Task watch = Task.Run(
            () =>
            {
                while (!over.IsCancellationRequested)
                    _baton.RecallForStream();
            },
            TestContext.Current.CancellationToken);
        try
        {
            while (rounds++ < 20_000)
            {
                _baton.Offer();
                Task borrower = Task.Run(Borrow, TestContext.Current.CancellationToken);
                long begin = TimeProvider.System.GetTimestamp();
                while (!(rounds % 2 == 0 ? _baton.Recall() : _baton.IsHome || _baton.TryWithdraw()))
                {
                    Assert.True(TimeProvider.System.GetElapsedTime(begin) < Waiting.Limit, "The baton does not come home.");
                    await Task.Yield();
                }

                Assert.Equal(1, Interlocked.Increment(ref holders));
                Interlocked.Decrement(ref holders);
                await borrower.Within();
            }
        }
        finally
        {
            await over.CancelAsync();
            await watch.Within();
        }

        void Borrow()
        {
            if (!_baton.TryTake())
                return;
            for (int i = 0; i < 10; i++)
            {
                Assert.Equal(1, Interlocked.Increment(ref holders));
                Interlocked.Decrement(ref holders);
                if (!_baton.TryEnterUserCode())
                    break;
                if (!_baton.TryLeaveUserCode())
                    return;
            }

            _baton.Return();
        }
    }

    private void Take()
    {
        _baton.Offer();
        Assert.True(_baton.TryTake());
    }
}
