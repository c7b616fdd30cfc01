using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// A target that accepts the last item at once does so a moment before the exit's buffer lets go of it. An exit that looked in that
/// moment waited for ever, because nothing came after it.
/// </summary>
public sealed class ExitEndTests : PipelineTest
{
    [Fact] // S1, S45
    public async Task Exit_LooksWhileTheLastItemIsHandedOver_TheRunEnds()
    {
        for (int round = 0; round < 5_000; round++)
        {
            int received = 0;
            IPropagatorBlock<int, int> block = Pipeline.Accept<int>().Where(static _ => true).AsBlock(Options);
            var target = new ActionBlock<int>(_ => { received++; });
            Assert.True(block.Post(round));
            block.Complete();
            block.LinkTo(target, new() { PropagateCompletion = true });

            await target.Completion.Within();

            Assert.Equal(1, received);
        }
    }
}
