using System.Collections.Concurrent;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>With a thread of its own a stage read sequences on the thread pool after the first wait for a slot.</summary>
public sealed class OwnThreadSequenceTests : PipelineTest
{
    private static readonly StageOptions Own = new() { Name = "own", OwnThread = true, BoundedCapacity = 1 };

    [Fact]
    public async Task Source_WaitsForSlots_IsReadOnItsThread()
    {
        ConcurrentBag<string?> threads = [];
        await Start(Pipeline.From(Noting(threads), Own).ForEach(static async x => await Task.Yield(), new() { BoundedCapacity = 1 })).Completion.Within();
        Assert.Equal(["own"], threads.Distinct());
    }

    [Fact]
    public async Task AsyncSource_WaitsForSlots_IsReadOnItsThread()
    {
        ConcurrentBag<string?> threads = [];
        await Start(Pipeline.From(NotingAsync(threads), Own).ForEach(static async x => await Task.Yield(), new() { BoundedCapacity = 1 })).Completion.Within();
        Assert.Equal(["own"], threads.Distinct());
    }

    [Fact]
    public async Task Sequence_WaitsForSlots_IsReadOnItsThread()
    {
        ConcurrentBag<string?> threads = [];
        await Start(Pipeline.From([1]).TransformMany(x => Noting(threads), Own).ForEach(static async x => await Task.Yield(), new() { BoundedCapacity = 1 })).Completion.Within();
        Assert.Equal(["own"], threads.Distinct());
    }

    [Fact]
    public async Task AsyncSequence_WaitsForSlots_IsReadOnItsThread()
    {
        ConcurrentBag<string?> threads = [];
        await Start(Pipeline.From([1]).TransformMany(x => NotingAsync(threads), Own).ForEach(static async x => await Task.Yield(), new() { BoundedCapacity = 1 })).Completion.Within();
        Assert.Equal(["own"], threads.Distinct());
    }

    private static IEnumerable<int> Noting(ConcurrentBag<string?> threads)
    {
        for (int i = 0; i < 200; i++)
        {
            threads.Add(Thread.CurrentThread.Name);
            yield return i;
        }
    }

    private static async IAsyncEnumerable<int> NotingAsync(ConcurrentBag<string?> threads)
    {
        for (int i = 0; i < 200; i++)
        {
            threads.Add(Thread.CurrentThread.Name);
            await Task.Yield();
            yield return i;
        }
    }
}
