using System.Security.Cryptography;
using Puma.Dataflow;

namespace DuplicateFinder;

/// <summary>How the hash is made: a value, so that it can be copied to wherever a hasher runs.</summary>
internal sealed record HasherOptions(string Algorithm, int BufferSize = 128 * 1024);

/// <summary>
/// Reads files and hashes them. There is one for each degree of parallelism, each with a hash and a buffer of its own, made where it
/// runs. What it throws, the stage's error policy turns into a dead letter.
/// </summary>
internal sealed class Hasher(HasherOptions options) : Runnable<SizedFile, HashedFile>
{
    private readonly byte[] _buffer = new byte[options.BufferSize];
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(new HashAlgorithmName(options.Algorithm));

    protected override async ValueTask OnItemAsync(SizedFile item, CancellationToken cancellationToken)
    {
        _hash.GetHashAndReset(); // what was read of a file that failed half-way must not get into this hash
        if (item.Size > 0)
            await ReadAsync(item, cancellationToken);
        await EmitAsync(new HashedFile(item.Path, item.Size, Convert.ToHexString(_hash.GetHashAndReset())), cancellationToken);
    }

    protected override ValueTask OnEndAsync(RunState outcome, Exception? cause)
    {
        _hash.Dispose();
        return default;
    }

    private async ValueTask ReadAsync(SizedFile item, CancellationToken cancellationToken)
    {
        // Never wait for a lock and never be in somebody's way. The buffer is ours, so the stream needs none.
        await using var stream = new FileStream(item.Path, new FileStreamOptions
        {
            Share = FileShare.ReadWrite | FileShare.Delete,
            Options = FileOptions.Asynchronous | FileOptions.SequentialScan,
            BufferSize = 0,
        });
        long length = 0;
        for (int read; (read = await stream.ReadAsync(_buffer, cancellationToken)) > 0; length += read)
            _hash.AppendData(_buffer, 0, read);
        if (length != item.Size)
            throw new IOException($"The file changed while it was read: it had {item.Size} bytes, and {length} were read.");
    }
}
