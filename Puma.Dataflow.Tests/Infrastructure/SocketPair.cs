using System.Net.Sockets;

namespace Puma.Dataflow.Tests.Infrastructure;

/// <summary>Both ends of a connection between two processes, in one.</summary>
internal sealed class SocketPair : IAsyncDisposable
{
    private SocketPair(Socket here, Socket there) => (Here, There) = (new NetworkStream(here, ownsSocket: true), new NetworkStream(there, ownsSocket: true));

    public NetworkStream Here { get; }

    public NetworkStream There { get; }

    public static SocketPair Connect()
    {
        string directory = Directory.CreateTempSubdirectory("pair").FullName;
        try
        {
            var address = new UnixDomainSocketEndPoint(Path.Combine(directory, "s"));
            using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            listener.Bind(address);
            listener.Listen(1);
            var here = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            here.Connect(address);
            return new SocketPair(here, listener.Accept());
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Here.DisposeAsync();
        await There.DisposeAsync();
    }
}
