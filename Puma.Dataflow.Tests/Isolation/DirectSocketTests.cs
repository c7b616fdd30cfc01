using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>A socket past the runtime's engine: who waits there goes on when something comes, when there is room, and when it ends.</summary>
public sealed class DirectSocketTests
{
    [Fact]
    public async Task Receive_WaitsForBytes_AndForTheEnd()
    {
        await using var pair = SocketPair.Connect();
        DirectSocket here = DirectSocket.Of(pair.Here)!;
        var buffer = new byte[10];

        Task<int> receiving = OnThread(() => here.Receive(buffer));
        pair.There.Write([1, 2, 3]);
        Assert.Equal(3, await receiving.Within());
        Assert.Equal([1, 2, 3], buffer[..3]);

        receiving = OnThread(() => here.Receive(buffer));
        await pair.There.DisposeAsync();
        Assert.Equal(0, await receiving.Within());
    }

    [Fact]
    public async Task Send_TakesWhatThereIsRoomFor_AndTellsWhenThereIsMore()
    {
        await using var pair = SocketPair.Connect();
        DirectSocket here = DirectSocket.Of(pair.Here)!;
        byte[] bytes = new byte[1024 * 1024];
        new Random(1).NextBytes(bytes);

        long sent = 0;
        for (int count = here.Send(bytes); count > 0; count = here.Send(bytes.AsSpan((int)(sent % bytes.Length))))
            sent += count;
        Task waiting = OnThread(() =>
        {
            here.WaitUntilWritable();
            return 0;
        });
        var received = new byte[sent];
        await pair.There.ReadExactlyAsync(received, TestContext.Current.CancellationToken).AsTask().Within();

        await waiting.Within();
        Assert.True(here.Send([1]) == 1);
        for (int i = 0; i < sent; i++)
            Assert.Equal(bytes[i % bytes.Length], received[i]);
    }

    [Fact]
    public async Task Shut_LetsAllGoOnWhoWait()
    {
        await using var pair = SocketPair.Connect();
        DirectSocket here = DirectSocket.Of(pair.Here)!;
        byte[] bytes = new byte[1024 * 1024];
        while (here.Send(bytes) > 0)
        {
        }

        Task<int> receiving = OnThread(() => here.Receive(new byte[1]));
        Task<IOException?> sending = OnThread(() =>
        {
            try
            {
                while (here.Send(bytes) == 0)
                    here.WaitUntilWritable();
                return null;
            }
            catch (IOException error)
            {
                return error;
            }
        });
        here.Shut();

        Assert.Equal(0, await receiving.Within());
        Assert.NotNull(await sending.Within());
        here.Shut();
    }

    [Fact]
    public void AStreamThatIsNoSocket_HasNone() => Assert.Null(DirectSocket.Of(Stream.Null));

    private static async Task<T> OnThread<T>(Func<T> action)
    {
        T result = default!;
        await PumpThread.RunAsync(() => result = action(), "test");
        return result;
    }
}
