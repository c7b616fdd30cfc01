using System.Collections.Concurrent;
using Puma.Dataflow.Lifecycle;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Lifecycle;

public sealed class ActivityTests : PipelineTest
{
    // A harness took a source that looked again for one in the middle of its work, and did not wait for its ticks.
    [Fact] // S44
    public async Task AStageThatIsWokenForNothing_WaitsAllTheWhile()
    {
        var gate = new Gate();
        ConcurrentQueue<StageActivity> seen = [];
        PipelineRun run = Start(Pipeline.From(Enumerable.Range(0, 100)).ForEach(async _ => await gate.WaitAsync(), new() { BoundedCapacity = 1 }));
        StageNode source = run.Graph.Nodes[0];
        await Waiting.UntilAsync(() => source.Activity == StageActivity.WaitingForOutput, "the source waits for a slot");

        run.Graph.OnActivity = () => seen.Enqueue(source.Activity);
        source.Wake();

        await Waiting.UntilAsync(() => !seen.IsEmpty, "the source has looked again");
        Assert.All(seen, static a => Assert.Equal(StageActivity.WaitingForOutput, a));
        run.Graph.OnActivity = null;
        gate.Open();
        Assert.Equal(100, (await run.Completion.Within()).Stages[^1].Delivered);
    }
}
