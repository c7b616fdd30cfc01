using System.Net.Sockets;
using Puma.Dataflow.Isolation.Transport;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Isolation;

/// <summary>Only the child that was started gets in, once for each connection, and nothing is left of the way in.</summary>
public sealed class EndpointTests
{
    private readonly byte[] _secret = [1, 2, 3, 4, 5, 6, 7, 8];

    [Fact]
    public async Task ConnectionsOfTheChild_AreToldApart()
    {
        using var endpoint = ChildEndpoint.Create(ChildEndpoint.NewName());
        Task<(Stream Data, Stream Control)> accepting = endpoint.AcceptAsync(_secret, Environment.ProcessId, TestContext.Current.CancellationToken);

        await using Stream control = await ConnectAsync(endpoint, ConnectionRole.Control);
        await using Stream data = await ConnectAsync(endpoint, ConnectionRole.Data);

        (Stream acceptedData, Stream acceptedControl) = await accepting.Within();
        await using (acceptedData)
        await using (acceptedControl)
        {
            await data.WriteAsync(new byte[] { 42 }, TestContext.Current.CancellationToken);
            Assert.Equal(42, acceptedData.ReadByte());
        }
    }

    [Fact]
    public async Task WhoDoesNotKnowTheSecret_IsTurnedAway_AndTheChildGetsIn()
    {
        using var endpoint = ChildEndpoint.Create(ChildEndpoint.NewName());
        Task<(Stream Data, Stream Control)> accepting = endpoint.AcceptAsync(_secret, Environment.ProcessId, TestContext.Current.CancellationToken);

        // The parent proves itself with its own secret, which is not the one that this end was told.
        await Assert.ThrowsAsync<UnauthorizedAccessException>(() => ChildEndpoint.ConnectAsync(endpoint.Name, ConnectionRole.Data, [9, 9], TestContext.Current.CancellationToken).Within());
        await using Stream data = await ConnectAsync(endpoint, ConnectionRole.Data);
        await using Stream second = await ConnectAsync(endpoint, ConnectionRole.Data);
        await using Stream control = await ConnectAsync(endpoint, ConnectionRole.Control);

        (Stream acceptedData, Stream acceptedControl) = await accepting.Within();
        await using (acceptedData)
        await using (acceptedControl)
        {
            // The second connection with the role of the first was closed.
            Assert.Equal(0, await second.ReadAsync(new byte[1], TestContext.Current.CancellationToken).AsTask().Within());
        }
    }

    [Fact]
    public async Task AnotherProcess_IsTurnedAway()
    {
        using var endpoint = ChildEndpoint.Create(ChildEndpoint.NewName());
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        Task accepting = endpoint.AcceptAsync(_secret, Environment.ProcessId + 1, limit.Token);

        await Assert.ThrowsAnyAsync<IOException>(() => ConnectAsync(endpoint, ConnectionRole.Data));

        Assert.False(accepting.IsCompleted);
        await limit.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => accepting.Within());
    }

    [Fact]
    public async Task AChildThatStopsHalfway_IsLetGo_WhenItsStartIsGivenUp()
    {
        using var endpoint = ChildEndpoint.Create(ChildEndpoint.NewName());
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        Task accepting = endpoint.AcceptAsync(_secret, Environment.ProcessId, limit.Token);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(endpoint.Name), TestContext.Current.CancellationToken);
        await using var child = new NetworkStream(socket);
        await child.WriteAsync(new byte[33], TestContext.Current.CancellationToken);
        await child.ReadExactlyAsync(new byte[64], TestContext.Current.CancellationToken).AsTask().Within();

        await limit.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => accepting.Within());
        Assert.Equal(0, await child.ReadAsync(new byte[1], TestContext.Current.CancellationToken).AsTask().Within());
    }

    [Fact]
    public void Dispose_NeverThrows()
    {
        using var endpoint = ChildEndpoint.Create(ChildEndpoint.NewName());
        Directory.Delete(Path.GetDirectoryName(endpoint.Name)!, recursive: true);

        endpoint.Dispose();
    }

    [Fact] // S39
    public void Sweep_RemovesWhatIsLongLeftBehind_AndNothingElse()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "A named pipe needs no directory.");
        if (OperatingSystem.IsWindows())
            return;
        string temporary = Directory.CreateTempSubdirectory("sweep").FullName;
        try
        {
            string old = Make("puma-0123456789ABCDE1", "s", "box"), empty = Make("puma-0123456789ABCDE2"), young = Make("puma-0123456789ABCDE3", "s");
            string other = Make("puma-0123456789ABCDE4", "data"), named = Make("another", "s"), others = Make("puma-others");
            string closed = Make("puma-0123456789ABCDE0");
            File.SetUnixFileMode(closed, UnixFileMode.None);
            foreach (string directory in (string[])[old, empty, other, named, others, closed])
                Directory.SetLastWriteTimeUtc(directory, DateTime.UnixEpoch);

            ChildEndpoint.Sweep(temporary);

            string[] kept = [named, young, other, others];
            Assert.Equal(Environment.IsPrivilegedProcess ? kept : [named, closed, young, other, others], Directory.GetDirectories(temporary).Order(StringComparer.Ordinal));
        }
        finally
        {
            foreach (string directory in Directory.GetDirectories(temporary))
                File.SetUnixFileMode(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            Directory.Delete(temporary, recursive: true);
        }

        string Make(string name, params string[] files)
        {
            string directory = Directory.CreateDirectory(Path.Combine(temporary, name)).FullName;
            foreach (string file in files)
                File.WriteAllText(Path.Combine(directory, file), "");
            return directory;
        }
    }

    [Fact]
    public void Dispose_LeavesNothing()
    {
        string directory;
        using (var endpoint = ChildEndpoint.Create(ChildEndpoint.NewName()))
        {
            directory = Path.GetDirectoryName(endpoint.Name)!;
            if (!OperatingSystem.IsWindows())
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(directory));
        }

        Assert.False(Directory.Exists(directory));
    }

    private Task<Stream> ConnectAsync(ChildEndpoint endpoint, ConnectionRole role) =>
        ChildEndpoint.ConnectAsync(endpoint.Name, role, _secret, TestContext.Current.CancellationToken).Within();
}
