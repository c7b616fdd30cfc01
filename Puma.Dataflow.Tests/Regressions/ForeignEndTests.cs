using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Blocks;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>Ends that foreign code sees or makes: told twice, not told, dropped, or waited for in vain.</summary>
public sealed class ForeignEndTests : LifecycleTest
{
    [Fact] // S4, S46
    public async Task FailureOfAForeignBlock_IsToldOnce()
    {
        ExpectFailure();
        PipelineRun<int> run = Start(Pipeline.Accept<int>()
            .Through(static () => new TransformBlock<int, int>(static int (_) => throw new FormatException()), new() { Name = "foreign" })
            .ForEach(static _ => { }));
        await run.SendAsync(1, TestToken);

        await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Empty((await run.Report).SecondaryErrors);
    }

    [Fact] // S3, S49
    public async Task FailureOfAnotherRun_IsThatOfTheStageThatThrewIt()
    {
        ExpectFailure();
        var inner = await Assert.ThrowsAsync<StageFaultedException>(() => Start(Pipeline.From([1]).ForEach(static (int _) => throw new FormatException(), new() { Name = "inner" })).Completion.Within());

        var outer = await Assert.ThrowsAsync<StageFaultedException>(() => Start(Pipeline.From([7]).ForEach((int _) => throw inner, new() { Name = "outer" })).Completion.Within());

        Assert.Equal(("outer", 1), (outer.Stage, outer.ItemNumber));
        Assert.Same(inner, outer.InnerException);
        Assert.True(outer.IsCausedBy<FormatException>());
    }

    [Fact] // S24
    public async Task DeadLetterDelegateThatFailsWhileItsStageGivesUp_IsASecondaryError()
    {
        ExpectFailure();
        var writing = new Gate();
        PipelineRun run = Start(Pipeline.From([1]).ForEach(
            static (int _) => throw new FormatException(),
            new()
            {
                ErrorPolicy = ErrorPolicy.DeadLetter(async (DeadLetter<int> _, CancellationToken ct) =>
                {
                    writing.Open();
                    await Assert.ThrowsAnyAsync<OperationCanceledException>(() => new Gate().WaitAsync(ct));
                    throw new TimeZoneNotFoundException();
                }),
            }));
        await writing.WaitAsync();
        run.Cancel();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());

        Assert.IsType<TimeZoneNotFoundException>(Assert.IsType<StageFaultedException>(Assert.Single((await run.Report).SecondaryErrors)).InnerException);
    }

    [Fact] // S22, S27, S45
    public async Task AbandonedExit_CountsWhatIsReserved_AndTellsItsTargetsInTheEnd()
    {
        ExpectFailure();
        Expect(12);
        ScriptedTarget holder = new() { Answer = Answer.Postpone }, other = new() { Answer = Answer.Decline };
        (PipelineRun run, IReceivableSourceBlock<int> exit) = StartWithExit(Pipeline.From([1]), FakeTimeOptions);
        exit.LinkTo(holder);
        exit.LinkTo(other, new() { PropagateCompletion = true });
        await Waiting.UntilAsync(() => holder.Reserve().StartsWith("reserved", StringComparison.Ordinal), "the item is reserved");
        run.Cancel();
        await Waiting.UntilAsync(() => run.Stage("from").State != StageState.Running, "the source has ended");
        Time.Advance(TimeSpan.FromSeconds(5));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.Completion.Within());

        PipelineReport report = await run.Report;
        Assert.Equal(["exit"], report.Abandoned);
        AssertCounts(report, "exit", accepted: 1, abandoned: 1);
        holder.Release();
        await Waiting.UntilAsync(() => other.Completion.IsCompleted, "the linked target is told");
        Assert.EndsWith("ends canceled", other.State, StringComparison.Ordinal);
    }

    [Fact] // S46
    public async Task HostedBlockThatDeclinesForGood_MayEndOnlyWhenItsOutputsWereTaken()
    {
        ExpectFailure();
        List<int> seen = [];
        PipelineRun run = Start(Pipeline.From([1, 2])
            .Through(static () => new LastWord(), new() { Name = "foreign", Placement = Placement.Loopback })
            .ForEach(seen.Add));

        Assert.Equal(RunState.Completed, (await run.Completion.Within()).State);

        Assert.Equal([7], seen);
    }

    [Fact] // S46
    public async Task HostedBlockThatDeclinesForGood_AndDoesNotEnd_IsAFault()
    {
        ExpectFailure();
        PipelineRun run = Start(Pipeline.From([1, 2])
            .Through(static () => new LastWord(ends: false), new() { Name = "foreign", Placement = Placement.Loopback })
            .ForEach(static _ => { }), Options with { AbortTimeout = TimeSpan.FromMilliseconds(50) });

        StageFaultedException fault = await Assert.ThrowsAsync<StageFaultedException>(() => run.Completion.Within());

        Assert.Contains("'foreign' declined an item for good", fault.Message, StringComparison.Ordinal);
    }

    /// <summary>Answers the first item by one last output and its own end, or by nothing at all.</summary>
    private sealed class LastWord(bool ends = true) : IPropagatorBlock<int, int>, IReceivableSourceBlock<int>
    {
        private readonly BufferBlock<int> _outputs = new();

        private ISourceBlock<int> Source => _outputs;

        public Task Completion => _outputs.Completion;

        public DataflowMessageStatus OfferMessage(DataflowMessageHeader messageHeader, int messageValue, ISourceBlock<int>? source, bool consumeToAccept)
        {
            if (ends)
            {
                _outputs.Post(7);
                _outputs.Complete();
            }

            return DataflowMessageStatus.DecliningPermanently;
        }

        public void Complete() => _outputs.Complete();

        public void Fault(Exception exception) => ((IDataflowBlock)_outputs).Fault(exception);

        public IDisposable LinkTo(ITargetBlock<int> target, DataflowLinkOptions linkOptions) => _outputs.LinkTo(target, linkOptions);

        public bool TryReceive(Predicate<int>? filter, out int item) => _outputs.TryReceive(filter, out item);

        public bool TryReceiveAll(out IList<int> items) => _outputs.TryReceiveAll(out items!);

        public int ConsumeMessage(DataflowMessageHeader messageHeader, ITargetBlock<int> target, out bool messageConsumed) => Source.ConsumeMessage(messageHeader, target, out messageConsumed);

        public bool ReserveMessage(DataflowMessageHeader messageHeader, ITargetBlock<int> target) => Source.ReserveMessage(messageHeader, target);

        public void ReleaseReservation(DataflowMessageHeader messageHeader, ITargetBlock<int> target) => Source.ReleaseReservation(messageHeader, target);
    }
}
