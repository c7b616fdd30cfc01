using System.Diagnostics;
using System.Net.Sockets;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>This program once more, as the other side of a Unix domain socket: what a child of a pipeline is measured beside.</summary>
internal sealed class PeerProcess : IAsyncDisposable
{
    /// <summary>The first argument of the program when it is the other side.</summary>
    public const string Argument = "as-peer";

    private readonly Process _process;
    private readonly string _folder;

    private PeerProcess(Process process, string folder, Socket socket) => (_process, _folder, Socket) = (process, folder, socket);

    public Socket Socket { get; }

    /// <param name="role">What it does with what comes.</param>
    public static async Task<PeerProcess> StartAsync(string role)
    {
        string folder = Directory.CreateTempSubdirectory("peer-").FullName, path = Path.Combine(folder, "socket");
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(1);
        var start = new ProcessStartInfo(Environment.ProcessPath!, [Argument, role, path]);
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
            start.ArgumentList.Insert(0, typeof(PeerProcess).Assembly.Location);
        return new PeerProcess(Process.Start(start)!, folder, await listener.AcceptAsync());
    }

    /// <summary>Is the other side.</summary>
    public static async Task<int> RunAsync(string role, string path)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path));
        switch (role)
        {
            case RawSocket.Echo:
                RawSocket.RunEcho(socket);
                break;
            case RawSocket.Drain:
                RawSocket.RunDrain(socket);
                break;
            case JsonRpcPeer.Role:
                await JsonRpcPeer.ServeAsync(socket);
                break;
        }

        return 0;
    }

    /// <summary>Ends the connection, by which the other side ends.</summary>
    public async ValueTask DisposeAsync()
    {
        Socket.Dispose();
        await _process.WaitForExitAsync();
        _process.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
