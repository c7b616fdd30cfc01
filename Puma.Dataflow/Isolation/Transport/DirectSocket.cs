using System.Net.Sockets;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>
/// A connection as threads use it that may wait in the system. The runtime's engine for sockets never hears of it, so that what arrives wakes the
/// thread that waits for it and no other: the engine would wake one of its own, and that one of the pool.
/// </summary>
/// <remarks>One thread at a time receives and one sends; <see cref="Shut"/> may come from any.</remarks>
/// <param name="socket">Connected. Nobody may use it asynchronously, which would give it to the engine.</param>
internal sealed class DirectSocket(Socket socket)
{
    /// <summary>No limit of time; see <see cref="Socket.Poll(int, SelectMode)"/>.</summary>
    private const int ForEver = -1;

    /// <summary>Uses a connection directly from here on.</summary>
    /// <returns>Null when it is no socket.</returns>
    public static DirectSocket? Of(Stream stream)
    {
        if (stream is not NetworkStream { Socket: { } socket })
            return null;
        socket.Blocking = false;
        return new DirectSocket(socket);
    }

    /// <summary>Waits for bytes.</summary>
    /// <returns>How many there are; 0 at the end of the connection.</returns>
    /// <exception cref="IOException">The connection is broken.</exception>
    /// <exception cref="ObjectDisposedException">It was disposed.</exception>
    public int Receive(Span<byte> target)
    {
        while (true)
        {
            int count = socket.Receive(target, SocketFlags.None, out SocketError error);
            if (error == SocketError.Success)
                return count;
            if (error != SocketError.WouldBlock)
                throw Broken(error);
            Wait(SelectMode.SelectRead);
        }
    }

    /// <summary>Sends as many bytes as the connection takes at once.</summary>
    /// <returns>How many; 0 when it is full.</returns>
    /// <inheritdoc cref="Receive" path="/exception"/>
    public int Send(ReadOnlySpan<byte> bytes)
    {
        int count = socket.Send(bytes, SocketFlags.None, out SocketError error);
        return error switch
        {
            SocketError.Success => count,
            SocketError.WouldBlock => 0,
            _ => throw Broken(error),
        };
    }

    /// <summary>Waits until the connection may take more, or has ended.</summary>
    /// <inheritdoc cref="Receive" path="/exception"/>
    public void WaitUntilWritable() => Wait(SelectMode.SelectWrite);

    /// <summary>Ends both directions; who waits goes on.</summary>
    public void Shut()
    {
        try
        {
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // It has ended already.
        }
    }

    private void Wait(SelectMode mode)
    {
        try
        {
            socket.Poll(ForEver, mode);
        }
        catch (SocketException error)
        {
            throw Broken(error.SocketErrorCode);
        }
    }

    private static IOException Broken(SocketError error) => new($"The connection is broken ({error}).", new SocketException((int)error));
}
