using System.Security.Cryptography;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>Which of a child's two connections one is.</summary>
internal enum ConnectionRole : byte
{
    Data = 1,
    Control = 2,
}

/// <summary>
/// Both ends of a new connection prove that they know the secret of this child, without telling it: each answers the other's random
/// challenge with a keyed hash (HMAC-SHA256, RFC 2104).
/// </summary>
/// <remarks>Blocks: a socket that was once used asynchronously belongs to the runtime's engine for sockets for ever, see <see cref="DirectSocket"/>.</remarks>
internal static class Handshake
{
    private const int Length = 32;
    private const byte ParentMark = (byte)'P', ChildMark = (byte)'C';

    /// <returns>Which connection it is; null when the other end does not know the secret.</returns>
    public static ConnectionRole? Accept(Stream stream, byte[] secret)
    {
        var hello = new byte[1 + Length];
        stream.ReadExactly(hello);
        byte[] challenge = RandomNumberGenerator.GetBytes(Length);
        stream.Write([.. challenge, .. Prove(secret, ParentMark, hello, challenge)]);
        var proof = new byte[Length];
        stream.ReadExactly(proof);
        return CryptographicOperations.FixedTimeEquals(proof, Prove(secret, ChildMark, hello, challenge)) && Enum.IsDefined((ConnectionRole)hello[0])
            ? (ConnectionRole)hello[0]
            : null;
    }

    /// <exception cref="UnauthorizedAccessException">The other end is not the parent.</exception>
    public static void Connect(Stream stream, ConnectionRole role, byte[] secret)
    {
        byte[] hello = [(byte)role, .. RandomNumberGenerator.GetBytes(Length)];
        stream.Write(hello);
        var answer = new byte[2 * Length];
        stream.ReadExactly(answer);
        byte[] challenge = answer[..Length];
        if (!CryptographicOperations.FixedTimeEquals(answer.AsSpan(Length), Prove(secret, ParentMark, hello, challenge)))
            throw new UnauthorizedAccessException("Whoever listens where the parent should does not know its secret.");
        stream.Write(Prove(secret, ChildMark, hello, challenge));
    }

    private static byte[] Prove(byte[] secret, byte side, byte[] hello, byte[] challenge) => HMACSHA256.HashData(secret, (byte[])[side, .. hello, .. challenge]);
}
