using System.Buffers.Binary;
using System.Net.Sockets;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>
/// The limit of what goes through a process: the bytes of the same frames over a Unix domain socket, with the same window, in as few system
/// calls as there can be. One thread on each side, which sends what the window allows and then reads what has come.
/// </summary>
internal static class RawSocket
{
    public const string Echo = "echo";
    public const string Drain = "drain";

    /// <summary>The header of a frame of this library.</summary>
    private const int HeaderBytes = 24;

    /// <summary>What comes before a short item, of which many travel in one frame.</summary>
    private const int LengthBytes = 4;

    private const int ReadingBytes = 32;
    private const int PackedBytes = LengthBytes + ReadingBytes;
    private const int AnswerBytes = 8;

    /// <summary>Small records there and back.</summary>
    /// <param name="socket">Where to.</param>
    /// <param name="first">The number of the first one.</param>
    /// <param name="n">How many.</param>
    /// <param name="window">How many at once at most.</param>
    /// <returns>The sum of the numbers that came back.</returns>
    public static long EchoReadings(Socket socket, int first, int n, int window)
    {
        var outgoing = new byte[window * PackedBytes];
        var incoming = new byte[window * PackedBytes];
        long sum = 0;
        int sent = 0, received = 0, kept = 0;
        while (received < n)
        {
            int burst = Math.Min(n - sent, window - (sent - received));
            for (int i = 0; i < burst; i++)
                BinaryPrimitives.WriteInt64LittleEndian(outgoing.AsSpan((i * PackedBytes) + LengthBytes), first + sent + i);
            if (burst > 0)
                socket.Send(outgoing.AsSpan(0, burst * PackedBytes));
            sent += burst;
            kept += socket.Receive(incoming.AsSpan(kept));
            int at = 0;
            for (; kept - at >= PackedBytes; at += PackedBytes, received++)
                sum += BinaryPrimitives.ReadInt64LittleEndian(incoming.AsSpan(at + LengthBytes));
            incoming.AsSpan(at, kept - at).CopyTo(incoming);
            kept -= at;
        }

        return sum;
    }

    /// <summary>The other side: sends back what comes.</summary>
    public static void RunEcho(Socket socket)
    {
        var buffer = new byte[64 * 1024];
        for (int count = socket.Receive(buffer); count > 0; count = socket.Receive(buffer))
            socket.Send(buffer.AsSpan(0, count));
    }

    /// <summary>Large blocks one way; a few bytes come back for each.</summary>
    /// <returns>How many were answered.</returns>
    public static long SendBlocks(Socket socket, int n, int blockBytes, int window)
    {
        var block = new byte[blockBytes];
        byte[] header = new byte[HeaderBytes], answers = new byte[window * AnswerBytes];
        BinaryPrimitives.WriteInt32LittleEndian(header, blockBytes);
        int sent = 0, answeredBytes = 0;
        while (answeredBytes < n * AnswerBytes)
        {
            for (; sent < n && sent - (answeredBytes / AnswerBytes) < window; sent++)
            {
                SendAll(socket, header);
                SendAll(socket, block);
            }

            answeredBytes += socket.Receive(answers);
        }

        return answeredBytes / AnswerBytes;
    }

    /// <summary>The other side: reads blocks and answers each.</summary>
    public static void RunDrain(Socket socket)
    {
        byte[] header = new byte[HeaderBytes], answer = new byte[AnswerBytes], block = [];
        while (TryReceiveAll(socket, header))
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(header);
            if (block.Length != length)
                block = new byte[length];
            TryReceiveAll(socket, block);
            SendAll(socket, answer);
        }
    }

    private static void SendAll(Socket socket, ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
            bytes = bytes[socket.Send(bytes)..];
    }

    private static bool TryReceiveAll(Socket socket, Span<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            int count = socket.Receive(bytes);
            if (count == 0)
                return false;
            bytes = bytes[count..];
        }

        return true;
    }
}
