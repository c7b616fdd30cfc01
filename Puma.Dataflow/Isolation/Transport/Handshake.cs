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
internal static class Handshake
{
    private const int Length = 32;
    private const byte ParentMark = (byte)'P', ChildMark = (byte)'C';

    /// <returns>Which connection it is; null when the other end does not know the secret.</returns>
    public static async Task<ConnectionRole?> AcceptAsync(Stream stream, byte[] secret, CancellationToken cancellationToken)
    {
        var hello = new byte[1 + Length];
        await stream.ReadExactlyAsync(hello, cancellationToken).ConfigureAwait(false);
        byte[] challenge = RandomNumberGenerator.GetBytes(Length);
        await stream.WriteAsync((byte[])[.. challenge, .. Prove(secret, ParentMark, hello, challenge)], cancellationToken).ConfigureAwait(false);
        var proof = new byte[Length];
        await stream.ReadExactlyAsync(proof, cancellationToken).ConfigureAwait(false);
        return CryptographicOperations.FixedTimeEquals(proof, Prove(secret, ChildMark, hello, challenge)) && Enum.IsDefined((ConnectionRole)hello[0])
            ? (ConnectionRole)hello[0]
            : null;
    }

    /// <exception cref="UnauthorizedAccessException">The other end is not the parent.</exception>
    public static async Task ConnectAsync(Stream stream, ConnectionRole role, byte[] secret, CancellationToken cancellationToken)
    {
        byte[] hello = [(byte)role, .. RandomNumberGenerator.GetBytes(Length)];
        await stream.WriteAsync(hello, cancellationToken).ConfigureAwait(false);
        var answer = new byte[2 * Length];
        await stream.ReadExactlyAsync(answer, cancellationToken).ConfigureAwait(false);
        byte[] challenge = answer[..Length];
        if (!CryptographicOperations.FixedTimeEquals(answer.AsSpan(Length), Prove(secret, ParentMark, hello, challenge)))
            throw new UnauthorizedAccessException("Whoever listens where the parent should does not know its secret.");
        await stream.WriteAsync(Prove(secret, ChildMark, hello, challenge), cancellationToken).ConfigureAwait(false);
    }

    private static byte[] Prove(byte[] secret, byte side, byte[] hello, byte[] challenge) => HMACSHA256.HashData(secret, (byte[])[side, .. hello, .. challenge]);
}
