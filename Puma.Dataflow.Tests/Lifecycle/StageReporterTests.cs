using Puma.Dataflow.Buffers;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Lifecycle;

/// <summary>The numbers of a stage are read one after another while its items go on: a part is read before its whole.</summary>
public sealed class StageReporterTests : PipelineTest
{
    [Fact]
    public async Task ItemsThatGoOnBetweenTwoReads_ShowNoPartAboveItsWhole()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().Transform(static x => x, new() { Name = "stage" }).ForEach(static _ => { }));
        run.Complete();
        await run.Completion.Within();
        StageNode stage = run.Graph.Nodes.Single(static n => n.Name == "stage");
        var input = new MovingLink(stage, static counters => counters.CountDelivered());
        (stage.Links.Inputs, stage.Links.Outputs) = ([input], [new MovingLink(stage, static counters => counters.CountRepeated())]);

        for (int i = 0; i < 3; i++)
        {
            StageReport now = StageReporter.Report(stage);
            LinkReport link = new GraphShape([stage], [input], PastStages.None).ReportLinks().Single();

            Assert.True(now.Delivered > 0 && now.Delivered + now.Discarded <= now.Accepted, $"{now}");
            Assert.True(now.Repeated > 0 && now.Repeated <= now.Emitted, $"{now}");
            Assert.True(now.Queued <= now.SlotsHeld && now.SlotsHeld <= now.MaxSlotsHeld, $"{now}");
            Assert.True(link.Received > 0 && link.Received + link.Discarded <= link.Sent, $"{link}");
            Assert.True(link.Dropped <= link.Discarded, $"{link}");
            Assert.True(link.Queued <= link.SlotsHeld, $"{link}");
        }
    }

    [Fact] // S34
    public async Task ItemsWhoseFatesWereReadTooEarly_ShowNoMoreInWorkThanHaveSlots()
    {
        PipelineRun<int> run = Start(Pipeline.Accept<int>().ForEach(static _ => { }, new() { Name = "stage" }));
        run.Complete();
        await run.Completion.Within();
        StageNode stage = run.Graph.Nodes.Single(static n => n.Name == "stage");
        stage.Links.Inputs = [new MovingLink(stage, static _ => { })];

        StageReport now = StageReporter.Report(stage);

        Assert.True(now.Accepted > 0 && now.InFlight + now.Queued <= now.SlotsHeld, $"{now}");
    }

    /// <summary>A link over which items go right after it was asked how many there were, and that is never at the same moment in two answers.</summary>
    private sealed class MovingLink : Link
    {
        private readonly StageCounters _counters;
        private readonly Action<StageCounters> _count;
        private long _written;

        [System.Diagnostics.CodeAnalysis.SetsRequiredMembers]
        public MovingLink(StageNode stage, Action<StageCounters> count)
            : base("writer", "reader", capacity: 4, stage, stage)
        {
            (_counters, _count, OnDiscarded) = (stage.Counters, count, static (_, _) => { });
            Move();
        }

        protected override long AcceptedSoFar
        {
            get
            {
                long now = _written;
                Move();
                return now;
            }
        }

        protected override bool IsInUse => false;

        public override int Queued => 3;

        public override int SlotsHeld => 2;

        public override int MaxSlotsHeld => 1;

        public override EndMarker? End => null;

        public override bool IsCompleted => false;

        public override void Complete(EndMarker marker) { }

        public override void Shut(DiscardReason reason) { }

        public override void Release(int count) { }

        public override void Flush() { }

        /// <summary>Three items are written: two are handled and settled, one is dropped.</summary>
        private void Move()
        {
            _written += 3;
            for (int i = 0; i < 2; i++)
            {
                CountReceived();
                _count(_counters);
            }

            CountDroppedOldest();
        }
    }
}
