using System.Collections.Concurrent;
using System.Threading.Channels;
using System.Threading.Tasks.Dataflow;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>
/// What serves one run only was guarded per description: a second description of the same stages ran, and lost every item to a target
/// that the first had completed. A builder that was shown as a block could not be shown again.
/// </summary>
public sealed class RunOnceTests : PipelineTest
{
    [Fact] // S16: nothing is lost silently
    public async Task TargetBlock_ServesOneRunOfAllDescriptions()
    {
        PipelineEnd<int> end = Pipeline.Accept<int>().To(new ActionBlock<int>(static _ => { }), new() { Name = "to" });
        PipelineRun<int> run = Start(end);
        run.Complete();
        await run.Completion.Within();

        AssertRefused(() => end.AsBlock(Options), "'to'");
        AssertRefused(() => end.Build(Options).Start(TestToken), "'to'");
    }

    [Fact] // S16
    public async Task PartWithABlock_ServesOneRunOfAllPipelinesThatGoThroughIt()
    {
        PipelinePart<int, int> part = Pipeline.Accept<int>().Through(new TransformBlock<int, int>(static x => x), new() { Name = "block" }).AsPart();
        await Start(Pipeline.From([1]).Through(part).ForEach(static _ => { })).Completion.Within();

        AssertRefused(() => Pipeline.From([1]).Through(part).ForEach(static _ => { }).Build(Options).Start(TestToken), "'block'");
    }

    [Fact] // S33
    public async Task DeadLetterTargetThatARunCompletes_ServesOneRun()
    {
        Pipeline toBlock = Failing(ErrorPolicy.DeadLetter(new ActionBlock<DeadLetter>(static _ => { })));
        Pipeline toChannel = Failing(ErrorPolicy.DeadLetter(Channel.CreateUnbounded<DeadLetter<int>>().Writer));
        await Watch(toBlock.Start(TestToken)).Completion.Within();
        await Watch(toChannel.Start(TestToken)).Completion.Within();

        AssertRefused(() => toBlock.Start(TestToken), "'work'", "dead-letter target");
        AssertRefused(() => toChannel.Start(TestToken), "'work'", "dead-letter target");
    }

    [Fact] // S33
    public async Task DeadLetterTargetThatNoRunCompletes_ServesMany()
    {
        var letters = new ConcurrentQueue<int>();
        Pipeline toDelegate = Failing(ErrorPolicy.DeadLetter((DeadLetter<int> letter, CancellationToken _) =>
        {
            letters.Enqueue(letter.Item);
            return default;
        }));
        Pipeline toNothing = Failing(ErrorPolicy.DeadLetter(DataflowBlock.NullTarget<DeadLetter>()));
        for (int i = 0; i < 2; i++)
        {
            await Watch(toDelegate.Start(TestToken)).Completion.Within();
            await Watch(toNothing.Start(TestToken)).Completion.Within();
        }

        Assert.Equal([1, 1], letters);
    }

    [Fact] // S45: AsBlock() starts one run per call
    public async Task OpenBuilder_CanBeShownAgainAndAgain()
    {
        PipelineBuilder<int, int> builder = Pipeline.Accept<int>().Transform(static x => x + 1);
        for (int i = 0; i < 2; i++)
        {
            IPropagatorBlock<int, int> block = builder.AsBlock(Options);
            Assert.True(block.Post(i));
            Assert.Equal(i + 1, await block.ReceiveAsync(TestToken).Within());
            block.Complete();
            await block.Completion.Within();
        }

        PipelineBuilder<NoInput, int> source = Pipeline.From([1, 2]);
        Assert.Equal(1, await source.AsBlock(Options).ReceiveAsync(TestToken).Within());
        IAsyncEnumerable<int> first = source.ToAsyncEnumerable(Options), second = source.ToAsyncEnumerable(Options);
        Assert.Equal([1, 2], await ReadAsync(first).Within());
        Assert.Equal([1, 2], await ReadAsync(second).Within());
        Assert.Contains("already continued by a exit stage", Assert.Throws<InvalidOperationException>(() => source.Take(1)).Message, StringComparison.Ordinal);
    }

    private static async Task<List<int>> ReadAsync(IAsyncEnumerable<int> items)
    {
        List<int> read = [];
        await foreach (int item in items)
            read.Add(item);
        return read;
    }

    private Pipeline Failing(ErrorPolicy policy) =>
        Pipeline.From([1]).ForEach(static (int _) => throw new FormatException(), new() { Name = "work", ErrorPolicy = policy }).Build(Options);

    private static void AssertRefused(Func<object> start, params string[] words)
    {
        var error = Assert.Throws<InvalidOperationException>(start);
        Assert.All([.. words, "once"], w => Assert.Contains(w, error.Message, StringComparison.Ordinal));
    }
}
