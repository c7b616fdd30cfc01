using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Testing;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Blocks;

public sealed class ExitBlockTests : PipelineTest
{
    private static readonly DataflowLinkOptions Propagate = new() { PropagateCompletion = true };

    [Fact] // S45, Puma 4
    public async Task UnlinkingAReaderAndLinkingAnother_LosesAndRepeatsNothing()
    {
        const int Items = 2000;
        ISourceBlock<int> block = Pipeline.From(Enumerable.Range(0, Items)).AsBlock(Options);
        List<int> seen = [];
        for (int reader = 0; seen.Count < Items; reader++)
        {
            var target = new BufferBlock<int>(new() { BoundedCapacity = 1 + (reader % 7) });
            IDisposable link = block.LinkTo(target);
            for (int n = 0; n < 50 && seen.Count < Items; n++)
                seen.Add(await target.ReceiveAsync(TestToken).Within());
            link.Dispose();
            while (target.TryReceive(out int item))
                seen.Add(item);

            // An offer that was on its way when the link was taken off still arrives.
            target.Complete();
            while (await target.OutputAvailableAsync(TestToken).Within())
                seen.Add(await target.ReceiveAsync(TestToken).Within());
        }

        await block.Completion.Within();
        Assert.Equal(Enumerable.Range(0, Items), seen);
    }

    [Fact] // S45: the run ends when the last item has left, whichever way the target took it.
    public async Task LinkedTarget_TakesEverything_AndTheRunEnds()
    {
        for (int round = 0; round < 300; round++)
        {
            IPropagatorBlock<int, int> block = Pipeline.Accept<int>(new() { BoundedCapacity = 1 }).AsBlock(Options);
            int sum = 0;
            var target = new ActionBlock<int>(x => sum += x);
            block.LinkTo(target, Propagate);
            for (int i = 1; i <= 20; i++)
                Assert.True(await block.SendAsync(i).Within());
            block.Complete();

            await block.Completion.Within();
            await target.Completion.Within();
            Assert.Equal(210, sum);
        }
    }

    [Fact] // S45, S34: a slot that is free again can be written, although the buffer behind the exit still holds the item.
    public async Task SendersToAFullBlock_WhoseTargetTakesOneByOne_AreAllServed()
    {
        IPropagatorBlock<int, int> block = Pipeline.Accept<int>(new() { BoundedCapacity = 1 }).AsBlock(Options);
        var target = new ScriptedTarget { Answer = Answer.Accept };
        block.LinkTo(target, Propagate);
        var source = new BufferBlock<int>();
        source.LinkTo(block, Propagate);
        for (int i = 0; i < 20_000; i++)
            source.Post(i);

        source.Complete();

        await target.Completion.Within();
        Assert.Equal(Enumerable.Range(0, 20_000), target.Taken);
    }

    [Fact] // S45
    public async Task TwoTargetsWithPredicates_GetTheirShare()
    {
        ISourceBlock<int> block = Pipeline.From(Enumerable.Range(0, 1000)).AsBlock(Options);
        ScriptedTarget even = new() { Answer = Answer.Accept }, odd = new() { Answer = Answer.Accept };

        block.LinkTo(even, Propagate, static x => x % 2 == 0);
        block.LinkTo(odd, Propagate);

        await Task.WhenAll(even.Completion, odd.Completion, block.Completion).Within();
        Assert.Equal(Enumerable.Range(0, 500).Select(static x => 2 * x), even.Taken);
        Assert.Equal(Enumerable.Range(0, 500).Select(static x => (2 * x) + 1), odd.Taken);
    }

    [Fact] // S45: reservation and release by a join that waits for its other side.
    public async Task NonGreedyJoin_LinkedToTheExit_PairsEverything()
    {
        ISourceBlock<int> block = Pipeline.From(Enumerable.Range(0, 200)).AsBlock(Options);
        var other = new BufferBlock<string>();
        var join = new JoinBlock<int, string>(new() { Greedy = false });
        block.LinkTo(join.Target1, Propagate);
        other.LinkTo(join.Target2);

        for (int i = 0; i < 200; i++)
        {
            Assert.True(other.Post($"{i}"));
            Assert.Equal(Tuple.Create(i, $"{i}"), await join.ReceiveAsync(TestToken).Within());
        }

        await block.Completion.Within();
    }

    [Fact] // S45
    public async Task NonGreedyBatch_LinkedToTwoBlocks_TakesWholeBatches()
    {
        ISourceBlock<int> first = Pipeline.From(Enumerable.Repeat(1, 50)).AsBlock(Options), second = Pipeline.From(Enumerable.Repeat(2, 50)).AsBlock(Options);
        var batch = new BatchBlock<int>(2, new() { Greedy = false });
        first.LinkTo(batch);
        second.LinkTo(batch);

        for (int i = 0; i < 50; i++)
            Assert.Equal(2, (await batch.ReceiveAsync(TestToken).Within()).Length);

        await Task.WhenAll(first.Completion, second.Completion).Within();
    }

    [Fact] // S17, S45: values first, then the fault.
    public async Task Fault_InAStage_CrossesTheExitAfterTheValues()
    {
        ExpectFailure();
        ISourceBlock<int> block = Pipeline.From(Enumerable.Range(0, 100)).Transform(static x => x == 60 ? throw new FormatException("bad") : x).AsBlock(Options);
        var target = new ScriptedTarget { Answer = Answer.Accept };
        block.LinkTo(target, Propagate);

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => block.Completion.Within());

        Assert.True(fault.IsCausedBy<FormatException>());
        await target.Completion.Within();
        Assert.Equal(Enumerable.Range(0, 60), target.Taken);
        Assert.EndsWith("ends faulted bad", target.State, StringComparison.Ordinal);
    }

    [Fact] // S22, S45: with FaultMode.Abort a target is told of the fault, not of a cancellation.
    public async Task Fault_WithAbort_CrossesTheExitAsTheFault()
    {
        ExpectFailure();
        Gate gate = new();
        ISourceBlock<int> block = Pipeline.From(Enumerable.Range(0, 100))
            .Transform(async x =>
            {
                if (x == 3)
                    await gate.WaitAsync();
                return x == 3 ? throw new FormatException("bad") : x;
            })
            .AsBlock(Options with { FaultMode = FaultMode.Abort });
        var target = new ScriptedTarget { Answer = Answer.Decline };
        block.LinkTo(target, Propagate);

        gate.Open();

        await Assert.ThrowsAsync<StageFaultedException>(() => block.Completion.Within());
        await target.Completion.Within();
        Assert.EndsWith("ends faulted bad", target.State, StringComparison.Ordinal);
    }

    [Fact] // S22, S45: a cancelled run is never told as completed.
    public async Task Cancellation_CrossesTheExitAsAFault_AndTheEntryOfTheNextRun()
    {
        ExpectFailure();
        using var foreign = new CancellationTokenSource();
        var source = new BufferBlock<int>(new() { CancellationToken = foreign.Token });
        ISourceBlock<int> first = Pipeline.From(source).AsBlock(Options);
        List<int> seen = [];
        PipelineRun<int> second = Start(Pipeline.Accept<int>().ForEach(seen.Add));
        first.LinkTo(second.Input, Propagate);

        await foreign.CancelAsync();

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => second.Completion.Within());
        Assert.True(fault.IsCausedBy<OperationCanceledException>());
        await Assert.ThrowsAsync<StageFaultedException>(() => first.Completion.Within());
    }

    [Fact] // S16, S45: a target or predicate that throws is a fault of the exit; nothing hangs and nothing is lost without a trace.
    public async Task TargetThatThrows_FaultsTheRun()
    {
        ExpectFailure();
        var discarded = new System.Collections.Concurrent.ConcurrentQueue<object?>();
        ISourceBlock<int> block = Pipeline.From(Enumerable.Range(0, 5)).AsBlock(Options with { OnDiscarded = d => discarded.Enqueue(d.Item) });
        List<int> seen = [];
        block.LinkTo(new ActionBlock<int>(seen.Add), static x => x == 2 ? throw new FormatException("predicate") : true);

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => block.Completion.Within());

        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Contains(2, discarded);
    }

    [Fact] // S5, S16: whoever faults an exit from outside, what lies before it is cancelled, not short of demand.
    public async Task FaultAtTheExit_CancelsWhatIsBeforeIt()
    {
        ExpectFailure();
        for (int round = 0; round < 50; round++)
        {
            var log = new LogRecorder();
            ISourceBlock<int> block = Pipeline.From(Enumerable.Range(0, 1000), new() { Name = "source" }).AsBlock(Options with { LoggerFactory = log });
            await block.OutputAvailableAsync(TestToken).Within();

            block.Fault(new FormatException("outside"));

            await Assert.ThrowsAsync<StageFaultedException>(() => block.Completion.Within());
            Assert.Contains(log.Records, static r => r.Message.StartsWith("Stage 'source' ended Canceled", StringComparison.Ordinal));
        }
    }

    [Fact] // S45
    public async Task ExtensionsOfTplDataflow_WorkOnOurBlocks()
    {
        IPropagatorBlock<int, int> block = Pipeline.Accept<int>().Transform(static x => x + 1).AsBlock(Options);
        var observed = new TaskCompletionSource<List<int>>(TaskCreationOptions.RunContinuationsAsynchronously);
        Assert.True(block.Post(1));
        Assert.True(await block.OutputAvailableAsync(TestToken).Within());
        Assert.Equal(2, await block.ReceiveAsync(TestToken).Within());

        Task<int> choice = DataflowBlock.Choose(block, _ => { }, new BufferBlock<int>(), _ => { });
        Assert.True(block.Post(2));
        Assert.Equal(0, await choice.Within());

        using IDisposable subscription = block.AsObservable().Subscribe(new Recorder(observed));
        Assert.True(block.Post(3));
        block.Complete();

        Assert.Equal([4], await observed.Task.Within());
        Assert.False(await block.OutputAvailableAsync(TestToken).Within());
        await Assert.ThrowsAsync<InvalidOperationException>(() => block.ReceiveAsync(TestToken).Within());
        await block.Completion.Within();
    }

    [Fact] // S45
    public async Task Encapsulate_OfOurTwoEnds_IsABlock()
    {
        IPropagatorBlock<int, int> ours = Pipeline.Accept<int>().Transform(static x => x * 2).AsBlock(Options);
        var after = new BufferBlock<int>();
        ours.LinkTo(after, Propagate);
        IPropagatorBlock<int, int> block = DataflowBlock.Encapsulate(ours, after);

        for (int i = 0; i < 10; i++)
            Assert.True(await block.SendAsync(i).Within());
        block.Complete();

        for (int i = 0; i < 10; i++)
            Assert.Equal(2 * i, await block.ReceiveAsync(TestToken).Within());
        await block.Completion.Within();
    }

    [Fact] // S45: one run per call.
    public async Task AsBlock_CalledTwice_StartsTwoRuns()
    {
        var log = new LogRecorder();
        PipelineOptions options = Options with { LoggerFactory = log };
        List<int> seen = [];
        var sink = Pipeline.Accept<int>().ForEach(seen.Add);
        var source = Pipeline.From(Enumerable.Range(0, 3));

        ITargetBlock<int> target1 = sink.AsBlock(options), target2 = sink.AsBlock(options);
        ISourceBlock<int> source1 = source.AsBlock(options);

        target1.Post(1);
        target1.Complete();
        await target1.Completion.Within();
        Assert.False(target2.Completion.IsCompleted);
        target2.Complete();
        await target2.Completion.Within();
        for (int i = 0; i < 3; i++)
            Assert.Equal(i, await source1.ReceiveAsync(TestToken).Within());
        await source1.Completion.Within();
        Assert.Equal([1], seen);
        Assert.Equal(3, log.Records.Count(static r => r.EventId.Id == 1));
    }

    private sealed class Recorder(TaskCompletionSource<List<int>> done) : IObserver<int>
    {
        private readonly List<int> _seen = [];

        public void OnCompleted() => done.TrySetResult(_seen);

        public void OnError(Exception error) => done.TrySetException(error);

        public void OnNext(int value) => _seen.Add(value);
    }
}
