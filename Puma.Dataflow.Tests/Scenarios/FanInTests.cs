using System.Threading.Channels;
using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Scenarios;

/// <summary>Fan-in waits for all inputs, or by option for the first.</summary>
public sealed class FanInTests : PipelineTest
{
    private static readonly StageOptions AnyInput = new() { Name = "meet", FanIn = FanIn.Any };

    [Fact] // S10, S13
    public async Task Merge_OfAny_CompletesWithTheFirstInput_AndTheOthersEndForLackOfDemand()
    {
        int sum = 0;
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Merge(AnyInput, Pipeline.From(Channel.CreateUnbounded<int>().Reader, new() { Name = "endless" }))
            .ForEach(x => { sum += x; }));

        PipelineReport report = await run.Completion.Within();

        Assert.Equal(6, sum);
        Assert.Equal(EndReason.NoDemand, report.Stage("endless").EndReason);
        Assert.Equal(EndReason.InputEnded, report.Stage("meet").EndReason);
    }

    [Fact] // S10, S13
    public async Task Merge_OfAny_CompletesAlsoWhileAnotherInputIsFlooded()
    {
        PipelineRun run = Start(Pipeline.From([1, 2, 3])
            .Merge(AnyInput, Pipeline.From(Endless()))
            .ForEach(static _ => { }));

        Assert.Equal(RunState.Completed, (await run.Completion.Within()).State);
    }

    [Fact] // S10, S13
    public async Task Join_OfAny_CompletesWhenOneInputCanPairNoMore()
    {
        List<(int, int)> pairs = [];
        PipelineRun run = Start(Pipeline.Join(Pipeline.From([1, 2, 3]), Pipeline.From(Endless()), AnyInput).ForEach(pairs.Add));

        await run.Completion.Within();

        Assert.Equal([(1, 0), (2, 1), (3, 2)], pairs);
    }

    [Fact] // S10
    public async Task Merge_OfAll_WaitsForTheSlowInput()
    {
        Channel<int> slow = Channel.CreateUnbounded<int>();
        var fastIsThrough = new Gate();
        int count = 0;
        PipelineRun run = Start(Pipeline.From([1, 2, 3]).Merge(Pipeline.From(slow.Reader)).ForEach(_ =>
        {
            if (++count == 3)
                fastIsThrough.Open();
        }));
        await fastIsThrough.WaitAsync();
        Assert.False(run.Completion.IsCompleted);

        slow.Writer.TryWrite(4);
        slow.Writer.Complete();
        await run.Completion.Within();

        Assert.Equal(4, count);
    }

    private static IEnumerable<int> Endless()
    {
        for (int i = 0; ; i++)
            yield return i;
    }
}
