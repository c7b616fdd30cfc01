using System.IO.Pipelines;

namespace Puma.Dataflow.Isolation.Transport;

/// <summary>One end of a connection inside a process. Once it is disposed of, its use fails as that of a socket does.</summary>
internal sealed class DuplexStream(Stream read, Stream write) : Stream
{
    // A pipe takes a write whole, however long it is, before it makes the writer wait.
    private const int LongestWrite = 64 * 1024;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Makes both ends of a connection.</summary>
    public static (DuplexStream, DuplexStream) CreatePair()
    {
        var options = new PipeOptions(pauseWriterThreshold: 256 * 1024, resumeWriterThreshold: 128 * 1024, useSynchronizationContext: false);
        Pipe there = new(options), back = new(options);
        return (new DuplexStream(back.Reader.AsStream(), there.Writer.AsStream()), new DuplexStream(there.Reader.AsStream(), back.Writer.AsStream()));
    }

    public override int Read(byte[] buffer, int offset, int count) => read.Read(buffer, offset, count);

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            return await read.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (InvalidOperationException error)
        {
            throw Disposed(error);
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Write(byte[] buffer, int offset, int count) => write.Write(buffer, offset, count);

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            for (; buffer.Length > LongestWrite; buffer = buffer[LongestWrite..])
                await write.WriteAsync(buffer[..LongestWrite], cancellationToken).ConfigureAwait(false);
            await write.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (InvalidOperationException error)
        {
            throw Disposed(error);
        }
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Flush() => write.Flush();

    public override async Task FlushAsync(CancellationToken cancellationToken)
    {
        try
        {
            await write.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (InvalidOperationException error)
        {
            throw Disposed(error);
        }
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>A pipe that was completed calls its further use an invalid operation.</summary>
    private static ObjectDisposedException Disposed(InvalidOperationException error) => new(nameof(DuplexStream), error);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            write.Dispose();
            read.Dispose();
        }

        base.Dispose(disposing);
    }
}
