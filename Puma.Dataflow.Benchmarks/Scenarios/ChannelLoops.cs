using System.Threading.Channels;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>The usual loops around bounded channels.</summary>
internal static class ChannelLoops
{
    public static Channel<T> Create<T>(int capacity) =>
        Channel.CreateBounded<T>(new BoundedChannelOptions(capacity) { SingleReader = true, SingleWriter = true });

    /// <summary>Writes all items and completes the channel.</summary>
    public static async Task FeedAsync<T>(ChannelWriter<T> to, int n, Func<int, T> make)
    {
        for (int i = 0; i < n; i++)
        {
            T item = make(i);
            if (!to.TryWrite(item))
                await to.WriteAsync(item);
        }

        to.Complete();
    }

    /// <summary>Makes one item of each.</summary>
    public static async Task StepAsync<TIn, TOut>(ChannelReader<TIn> from, ChannelWriter<TOut> to, Func<TIn, TOut> step)
    {
        await ForEachAsync(from, to, step);
        to.Complete();
    }

    /// <summary>Makes one item of each, as one of several that write the same channel.</summary>
    public static async Task ForEachAsync<TIn, TOut>(ChannelReader<TIn> from, ChannelWriter<TOut> to, Func<TIn, TOut> step)
    {
        while (await from.WaitToReadAsync())
        {
            while (from.TryRead(out TIn? item))
            {
                TOut made = step(item);
                if (!to.TryWrite(made))
                    await to.WriteAsync(made);
            }
        }
    }

    /// <summary>Reads all items.</summary>
    public static async Task ForEachAsync<T>(ChannelReader<T> from, Action<T> handle)
    {
        while (await from.WaitToReadAsync())
        {
            while (from.TryRead(out T? item))
                handle(item);
        }
    }
}
