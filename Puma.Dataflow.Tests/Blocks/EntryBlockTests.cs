using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Blocks;

public sealed class EntryBlockTests : PipelineTest
{
    [Fact] // S45
    public async Task PostponedMessages_WhenSlotsBecomeFree_AreConsumedInOrder()
    {
        IPropagatorBlock<int, int> block = Pipeline.Accept<int>(new() { BoundedCapacity = 1 }).AsBlock(Options);
        var receivable = (IReceivableSourceBlock<int>)block;
        ScriptedSource[] sources = [new(), new(), new()];
        Assert.True(block.Post(0));
        for (int i = 0; i < sources.Length; i++)
            Assert.Equal(DataflowMessageStatus.Postponed, sources[i].Offer(block, i + 1, consumeToAccept: false));

        for (int i = 0; i <= sources.Length; i++)
            Assert.Equal(i, await receivable.ReceiveAsync(TestToken).Within());

        Assert.All(sources, static s => Assert.False(s.HasMessage));
        block.Complete();
        await block.Completion.Within();
    }

    [Fact] // S45, S46: a source that faults while it is sent away
    public async Task SourceThatKnowsNoReservationAnyMore_HarmsNobody()
    {
        Gate inItem = new(), go = new();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(
            async (_, _) =>
            {
                inItem.Open();
                await go.WaitAsync(TestToken);
            },
            new() { BoundedCapacity = 1 }));
        await run.SendAsync(1, TestToken);
        await inItem.WaitAsync(TestToken);
        ScriptedSource source = new() { FaultsWhenReserved = true };
        Assert.Equal(DataflowMessageStatus.Postponed, source.Offer(run.Input, 2, consumeToAccept: false));

        run.Complete();
        go.Open();
        PipelineReport report = await run.Completion.Within();

        Assert.Empty(report.SecondaryErrors);
        Assert.Equal("reserve#1=True release#1; message 2", source.State);
    }

    [Fact] // S45
    public async Task SourceThatTakesItsMessageBack_LeavesItsSlotToTheNext()
    {
        IPropagatorBlock<int, int> block = Pipeline.Accept<int>(new() { BoundedCapacity = 1 }).AsBlock(Options);
        var receivable = (IReceivableSourceBlock<int>)block;
        ScriptedSource fickle = new() { TakesBack = true }, steady = new();
        Assert.Equal(DataflowMessageStatus.NotAvailable, fickle.Offer(block, 1, consumeToAccept: true));
        Assert.True(block.Post(2));
        Assert.Equal(DataflowMessageStatus.Postponed, fickle.Offer(block, 3, consumeToAccept: false));
        Assert.Equal(DataflowMessageStatus.Postponed, steady.Offer(block, 4, consumeToAccept: false));

        Assert.Equal(2, await receivable.ReceiveAsync(TestToken).Within());
        Assert.Equal(4, await receivable.ReceiveAsync(TestToken).Within());

        // A receiver has its item a moment before the slot is free.
        Assert.True(await block.SendAsync(5).Within());
        Assert.Equal(5, await receivable.ReceiveAsync(TestToken).Within());
        block.Complete();
        await block.Completion.Within();
    }

    [Fact] // S45: a source knows the block that it was linked to, so its MaxMessages count.
    public async Task BufferBlockLinkedForTwoMessages_ToAFullBlock_GivesExactlyTwo()
    {
        IPropagatorBlock<int, int> block = Pipeline.Accept<int>(new() { BoundedCapacity = 1 }).AsBlock(Options);
        var source = new BufferBlock<int>();
        Assert.True(block.Post(0));
        source.LinkTo(block, new DataflowLinkOptions { MaxMessages = 2 });
        for (int i = 1; i <= 4; i++)
            Assert.True(source.Post(i));

        for (int i = 0; i <= 2; i++)
            Assert.Equal(i, await block.ReceiveAsync(TestToken).Within());

        Assert.Equal(2, source.Count);
        block.Complete();
        await block.Completion.Within();
    }

    [Fact] // S45: messages that were postponed are released, not lost, when the block takes no more.
    public async Task Complete_WithPostponedMessages_LeavesThemWithTheirSource()
    {
        IPropagatorBlock<int, int> block = Pipeline.Accept<int>(new() { BoundedCapacity = 1 }).AsBlock(Options);
        var source = new BufferBlock<int>();
        Assert.True(block.Post(0));
        using IDisposable unlink = source.LinkTo(block);
        Assert.True(source.Post(1));
        Task<bool> sending = block.SendAsync(2);

        block.Complete();

        Assert.False(await sending.Within());
        Assert.Equal(0, await block.ReceiveAsync(TestToken).Within());
        await block.Completion.Within();
        Assert.Equal(1, await source.ReceiveAsync(TestToken).Within());
    }

    [Fact] // S45, S47: TrySend is false only when there is no slot.
    public async Task TrySend_AfterAWaitingSendWasServed_SeesTheFreeSlot()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { BoundedCapacity = 1 }).To(new BufferBlock<int>()));
        for (int i = 0; i < 500; i++)
        {
            await run.SendAsync(i, TestToken).AsTask().Within();
            await Waiting.UntilAsync(() => run.Snapshot().Stages[^1].SlotsHeld == 0, "an empty link");
            Assert.True(run.TrySend(i));
            await Waiting.UntilAsync(() => run.Snapshot().Stages[^1].SlotsHeld == 0, "an empty link");
        }

        await run.DisposeAsync();
    }

    [Fact] // S42, S45
    public async Task SendAsync_Cancelled_LeavesNothingBehind()
    {
        Gate gate = new();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { BoundedCapacity = 1 }).ForEach(async x =>
        {
            await gate.WaitAsync();
            seen.Add(x);
        }));
        using var cancel = new CancellationTokenSource();
        await run.SendAsync(1, TestToken).AsTask().Within();
        Task waiting = run.SendAsync(2, cancel.Token).AsTask();
        Task next = run.SendAsync(3, TestToken).AsTask();

        await cancel.CancelAsync();

        var error = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.Within());
        Assert.Equal(cancel.Token, error.CancellationToken);
        gate.Open();
        await next.Within();
        run.Complete();
        await run.Completion.Within();
        Assert.Equal([1, 3], seen);
    }

    [Fact] // S26
    public async Task SendTimeout_ThrowsAtTheSender_AndHarmsNothingElse()
    {
        Gate gate = new();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { BoundedCapacity = 1, SendTimeout = TimeSpan.FromSeconds(2) }).ForEach(async x =>
        {
            await gate.WaitAsync();
            seen.Add(x);
        }), FakeTimeOptions);
        await run.SendAsync(1, TestToken).AsTask().Within();
        Task waiting = run.SendAsync(2, TestToken).AsTask();
        Time.Advance(TimeSpan.FromSeconds(1));
        Assert.False(waiting.IsCompleted);

        Time.Advance(TimeSpan.FromSeconds(1));

        await Assert.ThrowsAsync<TimeoutException>(() => waiting.Within());
        gate.Open();
        run.Complete();
        await run.Completion.Within();
        Assert.Equal([1], seen);
    }

    [Fact] // S11
    public async Task CompleteWithLastSender_EndsTheEntryWithTheLastLease()
    {
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { CompleteWithLastSender = true }).ForEach(seen.Add));
        PipelineSender<int> first = run.OpenSender(), second = run.OpenSender();
        await first.SendAsync(1, TestToken).AsTask().Within();
        first.Dispose();
        first.Dispose();
        Assert.Equal(RunState.Running, run.State);
        await second.SendAsync(2, TestToken).AsTask().Within();

        second.Dispose();

        await run.Completion.Within();
        Assert.Equal([1, 2], seen);
        Assert.Throws<ObjectDisposedException>(() => second.TrySend(3));
        await Assert.ThrowsAsync<PipelineClosedException>(() => run.SendAsync(4, TestToken).AsTask().Within());
    }

    [Theory] // S47, S30
    [InlineData(FullMode.DropNewest, 1, 2, 3)]
    [InlineData(FullMode.DropOldest, 1, 4, 5)]
    public async Task FullMode_OfAFullEntry_DropsWhatItSays_AndCounts(FullMode mode, params int[] expected)
    {
        Expect(21);
        Gate gate = new();
        List<int> seen = [];
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { BoundedCapacity = 3, FullMode = mode }).ForEach(async x =>
        {
            await gate.WaitAsync();
            seen.Add(x);
        }, new() { Name = "sink" }));
        Assert.True(run.TrySend(1));
        await Waiting.UntilAsync(() => run.Stage("sink").Report().InFlight == 1, "the first item in work");

        for (int i = 2; i <= 5; i++)
            Assert.True(run.TrySend(i));

        gate.Open();
        run.Complete();
        PipelineReport report = await run.Completion.Within();
        Assert.Equal(expected, seen);
        LinkReport link = Assert.Single(report.Links);
        Assert.Equal((5L, 3L, 2L, 2L), (link.Sent, link.Received, link.Discarded, link.Dropped));
    }

    [Fact] // S47
    public async Task FullMode_Fail_ThrowsAtTheSend_AndDeclinesForeignOffers()
    {
        Gate gate = new();
        PipelineRun<int> run = Start(Pipeline.Accept<int>(new() { BoundedCapacity = 1, FullMode = FullMode.Fail }).ForEach(async _ => await gate.WaitAsync()));
        Assert.True(run.TrySend(1));

        await Assert.ThrowsAsync<PipelineFullException>(() => run.SendAsync(2, TestToken).AsTask().Within());
        Assert.False(run.TrySend(3));
        Assert.Equal(DataflowMessageStatus.Declined, new ScriptedSource().Offer(run.Input, 4, consumeToAccept: false));

        gate.Open();
        run.Complete();
        Assert.Equal(1, (await run.Completion.Within()).Stages[^1].Delivered);
    }
}
