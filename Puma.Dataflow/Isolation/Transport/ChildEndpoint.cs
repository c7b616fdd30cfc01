using System.Globalization;
using System.IO.Pipes;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Puma.Dataflow.Isolation.Launch;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>
/// Where one child connects: a Unix domain socket in a directory that only this user may enter, or a named pipe on Windows, which needs no
/// directory. Its name lives until both connections stand.
/// </summary>
internal sealed class ChildEndpoint : IDisposable
{
    /// <summary>In bytes.</summary>
    private const int SendBuffer = 1024 * 1024;

    private const string Prefix = "puma-", SocketName = "s", BoxName = "box";

    private const int RandomBytes = 8;

    /// <summary>When a directory is surely left behind: no child takes so long to make contact.</summary>
    private static readonly TimeSpan LeftBehindAge = TimeSpan.FromHours(1);

    // sun_path holds 108 bytes on Linux and 104 on macOS, with the final zero; see unix(7).
    private static readonly int MaxPath = OperatingSystem.IsMacOS() ? 103 : 107;

    private static int _hasSwept;

    private readonly Socket? _listener;

    private ChildEndpoint(string name, Socket? listener)
    {
        Name = name;
        _listener = listener;
    }

    /// <summary>What the child connects to.</summary>
    public string Name { get; }

    /// <summary>Where the child's black box is made.</summary>
    public string BlackBoxName => OperatingSystem.IsWindows() ? @"Local\" + Name : Path.Combine(DirectoryOf(Name), BoxName);

    /// <summary>Chooses a name and makes nothing, so that a child can know the name before there is anything to remove.</summary>
    public static string NewName()
    {
        string name = Prefix + Convert.ToHexString(RandomNumberGenerator.GetBytes(RandomBytes));
        if (OperatingSystem.IsWindows())
            return name;
        string path = Path.Combine(Path.GetTempPath(), name, SocketName);

        // The temporary folder of a user may have too long a name for a socket.
        return Encoding.UTF8.GetByteCount(path) <= MaxPath ? path : Path.Combine("/tmp", name, SocketName);
    }

    /// <param name="name">A name of <see cref="NewName"/>.</param>
    /// <exception cref="IsolationNotSupportedException">No usable directory.</exception>
    public static ChildEndpoint Create(string name)
    {
        if (OperatingSystem.IsWindows())
            return new ChildEndpoint(name, listener: null);

        string directory = DirectoryOf(name);
        string temporary = Path.GetDirectoryName(directory)!;
        if (Interlocked.Exchange(ref _hasSwept, 1) == 0)
            Sweep(temporary);
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            listener.Bind(new UnixDomainSocketEndPoint(name));
            listener.Listen(2);
            return new ChildEndpoint(name, listener);
        }
        catch (Exception error)
        {
            listener.Dispose();
            Remove(directory);
            throw new IsolationNotSupportedException($"No socket for a child process could be made at '{name}' ({error.Message}). Set TMPDIR to a directory that this user may write to and that has room.", error);
        }
    }

    /// <summary>Waits for both connections of a child.</summary>
    /// <param name="secret">What the child must know.</param>
    /// <param name="processId">Who it must be.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public async Task<(Stream Data, Stream Control)> AcceptAsync(byte[] secret, int processId, CancellationToken cancellationToken)
    {
        Stream? data = null, control = null;
        try
        {
            while (data is null || control is null)
            {
                Stream stream = await AcceptOneAsync(cancellationToken).ConfigureAwait(false);
                ConnectionRole? role = null;
                try
                {
                    if (stream is not NetworkStream network || IsFrom(network.Socket, processId))
                        await OnThreadAsync(stream, () => role = Handshake.Accept(stream, secret), cancellationToken).ConfigureAwait(false);
                }
                catch (Exception error) when (error is IOException or SocketException)
                {
                    // Whoever it was, it is gone.
                }
                catch
                {
                    await stream.DisposeAsync().ConfigureAwait(false);
                    throw;
                }

                if (role == ConnectionRole.Data && data is null)
                    data = stream;
                else if (role == ConnectionRole.Control && control is null)
                    control = stream;
                else
                    await stream.DisposeAsync().ConfigureAwait(false);
            }

            return (data, control);
        }
        catch
        {
            if (data is not null)
                await data.DisposeAsync().ConfigureAwait(false);
            if (control is not null)
                await control.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Connects as a child.</summary>
    public static async Task<Stream> ConnectAsync(string name, ConnectionRole role, byte[] secret, CancellationToken cancellationToken)
    {
        Stream stream = await ConnectOneAsync(name, cancellationToken).ConfigureAwait(false);
        try
        {
            await OnThreadAsync(stream, () => Handshake.Connect(stream, role, secret), cancellationToken).ConfigureAwait(false);
            return stream;
        }
        catch
        {
            await stream.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Takes the names away; the connections and the mapping live on.</summary>
    public void Dispose()
    {
        _listener?.Dispose();
        RemoveLeftBehind(Name);
    }

    /// <summary>Takes the names away in place of a parent that is gone.</summary>
    public static void RemoveLeftBehind(string name)
    {
        if (!OperatingSystem.IsWindows())
            Remove(DirectoryOf(name));
    }

    /// <summary>Removes what was left behind when a parent and its child ended together before they had met.</summary>
    public static void Sweep(string temporary)
    {
        DateTime oldest = (TimeProvider.System.GetUtcNow() - LeftBehindAge).UtcDateTime;
        try
        {
            foreach (string directory in Directory.GetDirectories(temporary, Prefix + "*"))
            {
                if (IsLeftBehind(directory, oldest))
                    Remove(directory);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Not there, or not to be listed: whether a child can be started there is another question.
        }
    }

    /// <summary>Runs an exchange that blocks on a thread of its own; its cancellation ends the connection.</summary>
    private static async Task OnThreadAsync(Stream stream, Action exchange, CancellationToken cancellationToken)
    {
        using CancellationTokenRegistration end = cancellationToken.UnsafeRegister(static state => ((Stream)state!).Dispose(), stream);
        try
        {
            await PumpThread.RunAsync(exchange, "puma-handshake").ConfigureAwait(false);
        }
        catch (Exception error) when (cancellationToken.IsCancellationRequested && error is IOException or ObjectDisposedException)
        {
            throw new OperationCanceledException("The connection was given up before both ends had proved themselves.", error, cancellationToken);
        }
    }

    private static bool IsLeftBehind(string directory, DateTime oldest)
    {
        try
        {
            return Path.GetFileName(directory).AsSpan(Prefix.Length) is { Length: 2 * RandomBytes } random && ulong.TryParse(random, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out _)
                && Directory.GetLastWriteTimeUtc(directory) < oldest
                && Directory.EnumerateFileSystemEntries(directory).All(static path => Path.GetFileName(path) is SocketName or BoxName);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Another user's, or another sweep was faster.
            return false;
        }
    }

    private static string DirectoryOf(string name) => Path.GetDirectoryName(name)!;

    private static void Remove(string directory)
    {
        try
        {
            Directory.Delete(directory, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Gone already, or the system no longer lets this user delete there. A child that runs is worth more than the name.
        }
    }

    private async Task<Stream> AcceptOneAsync(CancellationToken cancellationToken)
    {
        if (_listener is not null)
            return StreamOver(await _listener.AcceptAsync(cancellationToken).ConfigureAwait(false));
        var pipe = new NamedPipeServerStream(Name, PipeDirection.InOut, 2, PipeTransmissionMode.Byte, PipeOptions.Asynchronous | PipeOptions.CurrentUserOnly);
        try
        {
            await pipe.WaitForConnectionAsync(cancellationToken).ConfigureAwait(false);
            return pipe;
        }
        catch
        {
            await pipe.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private static async Task<Stream> ConnectOneAsync(string name, CancellationToken cancellationToken)
    {
        if (OperatingSystem.IsWindows())
        {
            var pipe = new NamedPipeClientStream(".", name, PipeDirection.InOut, PipeOptions.Asynchronous | PipeOptions.CurrentUserOnly);
            try
            {
                await pipe.ConnectAsync(cancellationToken).ConfigureAwait(false);
                return pipe;
            }
            catch
            {
                await pipe.DisposeAsync().ConfigureAwait(false);
                throw;
            }
        }

        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            // At once: the parent listens, and takes two. See DirectSocket for why it is not asynchronous.
            socket.Connect(new UnixDomainSocketEndPoint(name));
            return StreamOver(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>
    /// With more room than a socket has by itself: each time that it is used up costs two switches of threads. The system gives what it allows (SO_SNDBUF, see
    /// socket(7)); of two ends of such a socket only the sender's room counts, see unix(7).
    /// </summary>
    private static NetworkStream StreamOver(Socket socket)
    {
        try
        {
            socket.SendBufferSize = SendBuffer;
        }
        catch (SocketException)
        {
            // It goes on with the room that it has.
        }

        return new NetworkStream(socket, ownsSocket: true);
    }

    /// <summary>Whether the system says that the other end is the child that was started, and this user.</summary>
    private static bool IsFrom(Socket socket, int processId)
    {
        Span<byte> credentials = stackalloc byte[12];
        if (OperatingSystem.IsLinux())
        {
            // SOL_SOCKET, SO_PEERCRED: struct ucred { pid, uid, gid }; see unix(7).
            socket.GetRawSocketOption(1, 17, credentials);
            int pid = BitConverter.ToInt32(credentials);
            return BitConverter.ToUInt32(credentials[4..]) == UnixCalls.GetUser() && (pid == 0 || pid == processId);
        }

        if (!OperatingSystem.IsMacOS())
            return true;

        // SOL_LOCAL, LOCAL_PEERPID; see sys/un.h. The directory keeps other users out.
        socket.GetRawSocketOption(0, 2, credentials[..4]);
        return BitConverter.ToInt32(credentials) == processId;
    }
}
