using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Blocks;

/// <summary>Foreign blocks, channels and sequences as sources, stages and sinks.</summary>
public sealed class ForeignBlockTests : PipelineTest
{
    [Fact] // S46
    public async Task Sources_OfEachKind_AreReadToTheirEnd()
    {
        var transform = new TransformBlock<int, int>(static x => x * 2, new() { MaxDegreeOfParallelism = 2 });
        for (int i = 0; i < 500; i++)
            transform.Post(i);
        transform.Complete();
        Assert.Equal(Enumerable.Range(0, 500).Select(static x => 2 * x), await CollectAsync(Pipeline.From(transform)));

        var once = new WriteOnceBlock<int>(null);
        once.Post(7);
        Assert.Equal([7], await CollectAsync(Pipeline.From(once)));

        var broadcast = new BroadcastBlock<int>(null);
        broadcast.Post(8);
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From(broadcast).ForEach(seen.Add));
        await Waiting.UntilAsync(() => run.Snapshot().Stages[^1].Delivered == 1, "the current value");
        broadcast.Complete();
        await run.Completion.Within();
        Assert.Equal([8], seen);
    }

    [Fact] // S46: several inner exceptions: the first is the cause, the others are secondary.
    public async Task FaultedSource_IsTheCause_WithoutAggregates()
    {
        ExpectFailure();
        var source = new BufferBlock<int>();
        ((IDataflowBlock)source).Fault(new AggregateException(new FormatException("first"), new AggregateException(new InvalidOperationException("second"))));
        PipelineRun run = Start(Pipeline.From(source).ForEach(static _ => { }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.IsType<FormatException>(fault.InnerException);
        Exception secondary = Assert.Single((await run.Report).SecondaryErrors);
        Assert.IsType<InvalidOperationException>(secondary.InnerException);
    }

    [Fact] // S15, S46
    public async Task CancelledSource_IsAFault()
    {
        ExpectFailure();
        var source = new BufferBlock<int>(new() { CancellationToken = new CancellationToken(canceled: true) });
        PipelineRun run = Start(Pipeline.From(source).ForEach(static _ => { }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.True(fault.IsCausedBy<OperationCanceledException>());
    }

    [Theory] // S46
    [InlineData(1)]
    [InlineData(DataflowBlockOptions.Unbounded)]
    public async Task Through_BlocksOfAnyCapacity_PassesEverythingInOrder(int capacity)
    {
        List<int> seen = [];
        Pipeline pipeline = Pipeline.From(Enumerable.Range(0, 300))
            .Through(() => new TransformBlock<int, int>(static x => x + 1, new() { BoundedCapacity = capacity }))
            .Through(() => new TransformManyBlock<int, int>(static x => [x, -x], new() { BoundedCapacity = capacity }))
            .ForEach(seen.Add)
            .Build(Options);

        for (int round = 0; round < 2; round++)
        {
            seen.Clear();
            await Watch(pipeline.Start()).Completion.Within();
            Assert.Equal(Enumerable.Range(1, 300).SelectMany(static x => (int[])[x, -x]), seen);
        }
    }

    [Fact] // S46
    public async Task Through_ABlockThatFaults_FaultsTheRun()
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From(Numbers())
            .Through(new TransformBlock<int, int>(static x => x == 50 ? throw new FormatException("foreign") : x, new() { BoundedCapacity = 4 }), new() { Name = "foreign" })
            .ForEach(static _ => { }));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Equal("foreign", fault.Stage);
        Assert.IsType<FormatException>(fault.InnerException);
    }

    [Fact] // S13, S46
    public async Task Through_ABlockThatIsCompletedByOthers_IsALackOfDemand()
    {
        var block = new TransformBlock<int, int>(static x => x, new() { BoundedCapacity = 4 });
        int seen = 0;
        PipelineRun run = Start(Pipeline.From(Numbers()).Through(block).ForEach(_ =>
        {
            if (++seen == 10)
                block.Complete();
        }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(EndReason.NoDemand, report.Stages[0].EndReason);
        Assert.Equal(EndReason.InputEnded, report.Stages[^1].EndReason);
        Assert.Equal(seen, report.Stages[^1].Delivered);
    }

    [Fact] // S27, S46: cancelled, faulted, drained and in the end left behind.
    public async Task Through_ABlockThatNeverEnds_IsAbandonedAfterTheAbortTimeout()
    {
        ExpectFailure();
        Expect(12);
        Gate gate = new(), entered = new();
        PipelineRun run = Start(Pipeline.From(Numbers())
            .Through(new TransformBlock<int, int>(async x =>
            {
                entered.Open();
                await gate.WaitAsync();
                return x;
            }, new() { BoundedCapacity = 2 }), new() { Name = "foreign" })
            .ForEach(static _ => { }), FakeTimeOptions);
        await entered.WaitAsync(TestToken);

        run.Cancel();
        await UntilOnlyAsync(run, "foreign");
        Assert.False(run.Completion.IsCompleted);
        Time.Advance(TimeSpan.FromSeconds(6));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        Assert.Equal(["foreign"], (await run.Report).Abandoned);
        gate.Open();
    }

    [Fact] // S46: the block ends only when somebody takes what it holds.
    public async Task Through_ABlockThatKeepsItsOutputs_IsDrainedWhenItIsCancelled()
    {
        ExpectFailure();
        Gate gate = new();
        var inner = new BufferBlock<int>();
        var input = new ActionBlock<int>(x => inner.Post(x));
        PipelineRun run = Start(Pipeline.From(Numbers())
            .Through(new Stubborn(input, inner))
            .ForEach(async (_, ct) => await gate.WaitAsync(ct), new() { BoundedCapacity = 1 }));
        await Waiting.UntilAsync(() => inner.Count > 10, "outputs in the foreign block");

        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());
        Assert.Equal(0, inner.Count);
        Assert.Empty((await run.Report).Abandoned);
    }

    [Fact] // S46
    public async Task To_ForeignSinks_HandsEverythingOverAndWaitsForThem()
    {
        int sum = 0;
        var action = new ActionBlock<int>(x => sum += x, new() { BoundedCapacity = 2 });
        await Start(Pipeline.From(Enumerable.Range(1, 100)).To(action)).Completion.Within();
        Assert.True(action.Completion.IsCompletedSuccessfully);
        Assert.Equal(5050, sum);

        PipelineReport nowhere = await Start(Pipeline.From(Enumerable.Range(1, 100)).To(DataflowBlock.NullTarget<int>())).Completion.Within();
        Assert.Equal(100, nowhere.Stages[^1].Delivered);

        var batches = new BatchBlock<int>(30);
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(1, 100)).To(batches));
        List<int> sizes = [];
        while (await batches.OutputAvailableAsync(TestToken).Within())
            sizes.Add((await batches.ReceiveAsync(TestToken).Within()).Length);
        await run.Completion.Within();
        Assert.Equal([30, 30, 30, 10], sizes);
    }

    [Fact] // S46
    public async Task To_ASinkThatFaultsWhileIdle_FaultsTheRun()
    {
        ExpectFailure();
        var sink = new BufferBlock<int>();
        PipelineRun<int> run = Start(Pipeline.Accept<int>().To(sink, new() { Name = "sink" }));
        await run.SendAsync(1, TestToken).AsTask().Within();

        ((IDataflowBlock)sink).Fault(new FormatException("idle"));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());
        Assert.Equal(("sink", "idle"), (fault.Stage, fault.InnerException!.Message));
    }

    [Fact] // S46
    public async Task FaultBeforeAForeignSink_ReachesItAsOneFault()
    {
        ExpectFailure();
        var sink = new ActionBlock<int>(static _ => { });
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 10)).Transform(static x => x == 5 ? throw new FormatException("bad") : x).To(sink));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        await Assert.ThrowsAnyAsync<Exception>(() => sink.Completion.Within());
        AggregateException told = sink.Completion.Exception!;
        Assert.Same(fault, told.Flatten().InnerException);
        Assert.Empty((await run.Report).SecondaryErrors);
    }

    [Fact] // S45
    public async Task Channels_InAndOut_CarryItemsAndTheEnd()
    {
        var input = Channel.CreateBounded<int>(2);
        var output = Channel.CreateBounded<int>(2);
        PipelineRun run = Start(Pipeline.From(input.Reader).Transform(static x => x * 2).To(output.Writer));
        Task writing = Task.Run(async () =>
        {
            for (int i = 0; i < 100; i++)
                await input.Writer.WriteAsync(i, TestToken);
            input.Writer.Complete();
        }, TestToken);

        List<int> seen = [];
        await foreach (int item in output.Reader.ReadAllAsync(TestToken))
            seen.Add(item);

        await writing.Within();
        await run.Completion.Within();
        Assert.Equal(Enumerable.Range(0, 100).Select(static x => 2 * x), seen);
    }

    [Fact] // S14, S45
    public async Task ChannelCompletedWithAnError_FaultsTheRun_AndTheChannelBehindIt()
    {
        ExpectFailure();
        Channel<int> input = Channel.CreateUnbounded<int>(), output = Channel.CreateUnbounded<int>();
        input.Writer.TryWrite(1);
        input.Writer.Complete(new FormatException("channel"));
        PipelineRun run = Start(Pipeline.From(input.Reader).To(output.Writer));

        var fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.True(output.Reader.TryRead(out int item));
        Assert.Equal(1, item);
        Assert.Same(fault, (await Assert.ThrowsAsync<StageFaultedException>(() => output.Reader.Completion.Within())));
    }

    [Fact] // S13, S46
    public async Task ChannelClosedByOthers_IsALackOfDemand()
    {
        Channel<int> output = Channel.CreateBounded<int>(1);
        PipelineRun run = Start(Pipeline.From(Numbers()).To(output.Writer));
        await output.Reader.WaitToReadAsync(TestToken).AsTask().Within();

        output.Writer.Complete();

        Assert.Equal(EndReason.NoDemand, (await run.Completion.Within()).Stages[0].EndReason);
    }

    [Fact] // S17, S45
    public async Task ToAsyncEnumerable_ThrowsTheFaultAfterTheValues()
    {
        ExpectFailure();
        List<int> seen = [];

        var fault = await Assert.ThrowsAsync<StageFaultedException>(async () =>
        {
            await foreach (int item in Pipeline.From(Enumerable.Range(0, 10)).Transform(static x => x == 5 ? throw new FormatException("bad") : x).ToAsyncEnumerable(Options))
                seen.Add(item);
        });

        Assert.True(fault.IsCausedBy<FormatException>());
        Assert.Equal([0, 1, 2, 3, 4], seen);
    }

    [Fact] // S13, S45
    public async Task ToAsyncEnumerable_LeftEarly_EndsTheRunAndItsSource()
    {
        bool isSourceDisposed = false;
        IEnumerable<int> Endless()
        {
            try
            {
                for (int i = 0; ; i++)
                    yield return i;
            }
            finally
            {
                isSourceDisposed = true;
            }
        }

        await foreach (int item in Pipeline.From(Endless()).ToAsyncEnumerable(Options))
        {
            if (item == 10)
                break;
        }

        Assert.True(isSourceDisposed);
    }

    [Fact] // S21, S45
    public async Task ToAsyncEnumerable_Cancelled_ThrowsWithTheToken()
    {
        ExpectFailure();
        using var cancel = new CancellationTokenSource();

        var error = await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (int item in Pipeline.From(Numbers()).ToAsyncEnumerable(Options).WithCancellation(cancel.Token))
            {
                if (item == 10)
                    await cancel.CancelAsync();
            }
        });

        Assert.Equal(cancel.Token, error.CancellationToken);
    }

    private async Task<List<int>> CollectAsync(PipelineBuilder<NoInput, int> source)
    {
        List<int> seen = [];
        await Start(source.ForEach(seen.Add)).Completion.Within();
        return seen;
    }

    private static IEnumerable<int> Numbers()
    {
        for (int i = 0; ; i++)
            yield return i;
    }

    /// <summary>A block that takes a fault for its end, and keeps its outputs until they are taken.</summary>
    private sealed class Stubborn(ActionBlock<int> input, BufferBlock<int> output) : IPropagatorBlock<int, int>
    {
        public Task Completion => output.Completion;

        public void Complete() => output.Complete();

        public void Fault(Exception exception) => output.Complete();

        public DataflowMessageStatus OfferMessage(DataflowMessageHeader messageHeader, int messageValue, ISourceBlock<int>? source, bool consumeToAccept) =>
            ((ITargetBlock<int>)input).OfferMessage(messageHeader, messageValue, source, consumeToAccept);

        public IDisposable LinkTo(ITargetBlock<int> target, DataflowLinkOptions linkOptions) => output.LinkTo(target, linkOptions);

        public int ConsumeMessage(DataflowMessageHeader messageHeader, ITargetBlock<int> target, out bool messageConsumed) =>
            ((ISourceBlock<int>)output).ConsumeMessage(messageHeader, target, out messageConsumed);

        public bool ReserveMessage(DataflowMessageHeader messageHeader, ITargetBlock<int> target) => ((ISourceBlock<int>)output).ReserveMessage(messageHeader, target);

        public void ReleaseReservation(DataflowMessageHeader messageHeader, ITargetBlock<int> target) => ((ISourceBlock<int>)output).ReleaseReservation(messageHeader, target);
    }
}
