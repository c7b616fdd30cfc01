using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>A stage lets go of an item as soon as it is settled: while it waits for the next one, nothing of the last is kept alive.</summary>
public sealed class SettledItemTests : PipelineTest
{
    /// <summary>From this size on the codec does not copy the bytes of an array, but notes the array.</summary>
    private const int Large = 256 * 1024;

    private const int Items = 5;

    // What the worker of a loopback stage had in hand. One test at a time.
    private static readonly ConcurrentQueue<WeakReference> s_seen = [];

    [Theory] // S30
    [InlineData(1, true)]
    [InlineData(3, true)]
    [InlineData(3, false)]
    public Task InProcess(int parallelism, bool ordered) => AssertForgottenAsync(
        static options => Pipeline.Accept<byte[]>().Transform(static x => x.Length, options).ForEach(static _ => { }),
        new() { MaxDegreeOfParallelism = parallelism, EnsureOrdered = ordered });

    [Fact] // S30
    public Task InProcess_ByKey() => AssertForgottenAsync(
        static options => Pipeline.Accept<byte[]>().PartitionBy(static x => x[0]).Then(static () => new Echo(), options).ForEach(static _ => { }),
        new() { MaxDegreeOfParallelism = 3 });

    [Fact] // S30
    public Task InProcess_OfAPortRunnable() => AssertForgottenAsync(
        static options => Pipeline.Accept<byte[]>().Into(static () => new OnePort(), static r => r.Bytes, options).End(), new());

    [Theory] // S30
    [InlineData(1)]
    [InlineData(3)]
    public Task OnAThreadOfItsOwn(int parallelism) => AssertForgottenAsync(
        static options => Pipeline.Accept<byte[]>().Then(static () => new Echo(), options).ForEach(static _ => { }),
        new() { MaxDegreeOfParallelism = parallelism, OwnThread = true });

    [Theory] // S30: what was sent, what was received at the other end, and what was sent back
    [InlineData(1)]
    [InlineData(3)]
    public async Task InLoopback(int parallelism)
    {
        s_seen.Clear();
        await AssertForgottenAsync(
            static options => Pipeline.Accept<byte[]>().Then(static () => new Echo(), options).ForEach(static _ => { }),
            new() { MaxDegreeOfParallelism = parallelism, Placement = Placement.Loopback });
        Assert.Equal(2 * Items, s_seen.Count);
    }

    private async Task AssertForgottenAsync(Func<StageOptions, PipelineEnd<byte[]>> make, StageOptions options)
    {
        PipelineRun<byte[]> run = Start(make(options with { Name = "work" }));
        List<WeakReference> sent = [];
        for (int i = 0; i < Items; i++)
        {
            (WeakReference item, Task sending) = Send(run);
            sent.Add(item);
            await sending.Within();
        }

        await Waiting.UntilAsync(() => run.Snapshot().Stages.All(static s => s.Delivered == s.Accepted && s.SlotsHeld == 0) && run.Snapshot().Stage("work").Delivered == Items, "every item is settled");

        // The run goes on, and its stages wait for more.
        await Waiting.UntilFreeAsync(sent, "items that were sent");
        await Waiting.UntilFreeAsync(s_seen, "items in the runnable");
        run.Complete();
        await run.Completion.Within();
    }

    /// <summary>The item is on the stack of this method only.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static (WeakReference Item, Task Sending) Send(PipelineRun<byte[]> run)
    {
        byte[] item = new byte[Large];
        return (new WeakReference(item), run.SendAsync(item, TestToken).AsTask());
    }

    private sealed class Echo : Runnable<byte[], byte[]>
    {
        protected override ValueTask OnItemAsync(byte[] item, CancellationToken cancellationToken)
        {
            byte[] answer = new byte[Large];
            s_seen.Enqueue(new WeakReference(item));
            s_seen.Enqueue(new WeakReference(answer));
            return EmitAsync(answer, cancellationToken);
        }
    }

    private sealed class OnePort : PortRunnable
    {
        public Input<byte[]> Bytes { get; } = new(static (_, _) => default);
    }
}
