using Puma.Dataflow.Buffers;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Buffers;

/// <summary>The counts of a link while it is written and read: an item is counted as sent before it can be received.</summary>
public sealed class LinkCountsTests
{
    // More threads than processors, so that the system stops some of them anywhere.
    private const int Links = 2, MostItems = 300_000;

    // On a machine with much else to do it looks at fewer items, and fails no more often.
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(2);

    [Theory]
    [InlineData(LinkKind.Burst, false)]
    [InlineData(LinkKind.Burst, true)]
    [InlineData(LinkKind.BufferBlock, false)]
    public Task WhatWasReceived_WasSent(LinkKind kind, bool countsReads) => Task.WhenAll(Enumerable.Range(0, Links).Select(_ => PassAsync(Make(kind, countsReads), countsReads)));

    private static async Task PassAsync(Link<int> link, bool countsReads)
    {
        int written = 0;
        Task writing = Run(() =>
        {
            long begin = Environment.TickCount64;
            while (written < MostItems && Environment.TickCount64 - begin < s_longest.TotalMilliseconds)
            {
                if (link.TryWrite(written))
                    written++;
                else
                    Look();
            }

            link.Complete(EndMarker.Completed);
        });
        Task reading = Run(() =>
        {
            int read = 0;
            while (link.End is null)
            {
                if (!link.TryRead(out _))
                {
                    Look();
                    continue;
                }

                if (!countsReads)
                    link.CountReceived();
                LinkCounts now = link.Counts;
                link.Release(1);
                Assert.Equal(++read, now.Received);
                Assert.True(now.Received <= now.Sent, $"{now}");
            }
        });
        await (await Task.WhenAny(writing, reading).Within()).Within();
        await Task.WhenAll(writing, reading).Within();

        Assert.True(written > 0);
        Assert.Equal((written, written), (link.Counts.Sent, link.Counts.Received));

        // Never sleeps, so that it looks at every moment of the other side.
        static void Look()
        {
            TestContext.Current.CancellationToken.ThrowIfCancellationRequested();
            Thread.Yield();
        }
    }

    [Theory]
    [InlineData(LinkKind.Burst)]
    [InlineData(LinkKind.BufferBlock)]
    public void WhatIsRefusedByAShutLink_WasNeverSent(LinkKind kind)
    {
        Link<int> link = Make(kind);
        Assert.True(link.TryWrite(1));
        Assert.True(link.TryReserve());
        link.Shut(DiscardReason.NoDemand);

        Assert.False(link.WriteReserved(2));

        LinkCounts counts = link.Counts;
        Assert.Equal((1, 0, 1), (counts.Sent, counts.Received, counts.Discarded));
        Assert.Equal(0, link.SlotsHeld);
    }

    private static Task Run(Action work) => Task.Factory.StartNew(work, TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static Link<int> Make(LinkKind kind, bool countsReads = false) => kind == LinkKind.Burst
        ? new BurstLink<int>("writer", "reader", capacity: 4, new Silent(), new Silent()) { OnDiscarded = static (_, _) => { }, CountsReadsAsReceived = countsReads }
        : new BufferBlockLink<int>("writer", "reader", capacity: 4, new Silent(), new Silent()) { OnDiscarded = static (_, _) => { } };

    private sealed class Silent : ILinkEnd
    {
        public void Wake() { }

        public void OnReaderClosed() { }
    }
}
