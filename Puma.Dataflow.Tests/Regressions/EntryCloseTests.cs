using Puma.Dataflow.Tests.Infrastructure;

namespace Puma.Dataflow.Tests.Regressions;

/// <summary>An entry that woke between being told to end and being closed waited for ever.</summary>
public sealed class EntryCloseTests : PipelineTest
{
    [Fact] // S9, S10
    public async Task CompleteRightAfterASend_InManyRuns_EndsEachOfThem()
    {
        Pipeline<int> pipeline = Pipeline.Accept<int>().ForEach(static x => { }, new() { Name = "sink" }).Build(Options);
        for (int i = 0; i < 2000; i++)
        {
            await using PipelineRun<int> run = pipeline.Start(TestToken);
            await run.SendAsync(i, TestToken);
            run.Complete();
            PipelineReport report = await run.Completion.Within();
            Assert.Equal(1, report.Stage("sink").Delivered);
        }
    }
}
