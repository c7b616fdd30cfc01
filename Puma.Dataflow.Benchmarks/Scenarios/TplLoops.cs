using System.Threading.Tasks.Dataflow;

namespace Puma.Dataflow.Benchmarks.Scenarios;

/// <summary>How blocks of TPL Dataflow are wired by hand: as well as their options allow, or as people usually write it.</summary>
internal static class TplLoops
{
    public static DataflowLinkOptions Propagating { get; } = new() { PropagateCompletion = true };

    public static ExecutionDataflowBlockOptions Options(int capacity, bool isWiredBest, int parallelism = 1) =>
        new() { BoundedCapacity = capacity, SingleProducerConstrained = isWiredBest, MaxDegreeOfParallelism = parallelism };

    /// <summary>Sends an item and waits until it is accepted.</summary>
    public static async ValueTask GiveAsync<T>(ITargetBlock<T> block, T item, bool isWiredBest)
    {
        if (!isWiredBest || !block.Post(item))
            await block.SendAsync(item);
    }

    /// <summary>Sends all items and completes the block.</summary>
    public static async Task FeedAsync<T>(ITargetBlock<T> block, int n, Func<int, T> make, bool isWiredBest)
    {
        for (int i = 0; i < n; i++)
        {
            T item = make(i);
            if (!isWiredBest || !block.Post(item))
                await block.SendAsync(item);
        }

        block.Complete();
    }
}
