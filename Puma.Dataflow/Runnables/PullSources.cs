using System.Threading.Channels;

namespace Puma.Dataflow.Runnables;

// The awaits of enumerables keep the context on purpose: with a thread of its own, a stage reads its sequence there.

/// <summary>Reads an enumerable; asked to end, it reads no further.</summary>
internal sealed class EnumerableBody<T>(IEnumerable<T> source) : SourceBody<T>
{
    public override async ValueTask ProduceAsync(Emitter<T> output, CancellationToken stopToken)
    {
        using IEnumerator<T> items = source.GetEnumerator();
        while (output.PassOn(items, out T late))
        {
            await output.PassAsync(late, default).ConfigureAwait(true);
            if (output.IsStopping)
                return;
        }
    }
}

/// <summary>Reads an asynchronous enumerable; asked to end, it fires the enumerator's token and reads no further.</summary>
internal sealed class AsyncEnumerableBody<T>(IAsyncEnumerable<T> source) : SourceBody<T>
{
    public override async ValueTask ProduceAsync(Emitter<T> output, CancellationToken stopToken)
    {
        await foreach (T item in source.WithCancellation(stopToken).ConfigureAwait(true))
        {
            await output.PassAsync(item, default).ConfigureAwait(true);
            if (output.IsStopping)
                return;
        }
    }
}

/// <summary>Reads a channel; asked to end, it leaves in the channel what it has not read.</summary>
internal sealed class ChannelBody<T>(ChannelReader<T> reader) : SourceBody<T>
{
    public override async ValueTask ProduceAsync(Emitter<T> output, CancellationToken stopToken)
    {
        while (!output.IsStopping && await reader.WaitToReadAsync(stopToken).ConfigureAwait(false))
        {
            while (!output.IsStopping && reader.TryRead(out T? item))
                await output.PassAsync(item, default).ConfigureAwait(false);
        }
    }
}
